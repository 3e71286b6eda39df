import Foundation

/// Where Core ML may run a model; the raw values are the names of `MLComputeUnits`' cases.
public enum ComputeUnit: String, Codable, Sendable, CaseIterable {
    case all
    case cpuAndNeuralEngine
    case cpuAndGPU
    case cpuOnly
}

/// The device's own word on its temperature, in rising order, named as `ProcessInfo.ThermalState`'s cases.
public enum ThermalState: String, Codable, Sendable, CaseIterable, Comparable {
    case nominal
    case fair
    case serious
    case critical

    public static func < (a: ThermalState, b: ThermalState) -> Bool {
        allCases.firstIndex(of: a)! < allCases.firstIndex(of: b)!
    }
}

/// One input or output of a model: `shape` of one prediction, `dtype` as numpy names it.
public struct TensorPlan: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        /// A multiarray.
        case tensor
        /// A pixel buffer; golden values are planes (1, 3 or 1, height, width) in 0...255.
        case image
        /// A classifier's dictionary from label to probability, read in the order of the model's labels.
        case probabilities
    }

    public var name: String
    public var shape: [Int]
    public var dtype: String
    public var kind: Kind

    public init(name: String, shape: [Int], dtype: String, kind: Kind = .tensor) {
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.kind = kind
    }

    /// How many scalars one sample holds.
    public var count: Int { shape.reduce(1, *) }
}

/// One model of a plan, and where its golden data lies.
public struct ModelPlan: Codable, Sendable, Equatable {
    public var name: String
    public var precision: String
    /// File name of the package without its extension, and of what Xcode compiles it to.
    public var resource: String
    /// Digest of the package's tree, as `treeDigest` computes it.
    public var sha256: String
    public var weightsSha256: String
    /// Parity passes at this PSNR in dB, warns down to ten below, fails under that.
    public var gateDb: Double
    public var inputs: [TensorPlan]
    public var outputs: [TensorPlan]
    public var labels: [String]
    public var goldenInputs: String
    public var goldenOutputs: String

    public init(
        name: String, precision: String, resource: String, sha256: String, weightsSha256: String, gateDb: Double,
        inputs: [TensorPlan], outputs: [TensorPlan], labels: [String], goldenInputs: String, goldenOutputs: String
    ) {
        self.name = name
        self.precision = precision
        self.resource = resource
        self.sha256 = sha256
        self.weightsSha256 = weightsSha256
        self.gateDb = gateDb
        self.inputs = inputs
        self.outputs = outputs
        self.labels = labels
        self.goldenInputs = goldenInputs
        self.goldenOutputs = goldenOutputs
    }

    /// What tells this model from the others of a plan.
    public var label: String { "\(name)-\(precision)" }
}

/// When a warm-up ends: after `minimum` predictions, once the medians of two windows in a row differ by less than
/// `tolerancePermille`, and in any case after `maximum`.
public struct WarmUpPlan: Codable, Sendable, Equatable {
    public var minimum: Int
    public var maximum: Int
    public var window: Int
    public var tolerancePermille: Int

    public init(minimum: Int = 20, maximum: Int = 400, window: Int = 10, tolerancePermille: Int = 20) {
        self.minimum = minimum
        self.maximum = maximum
        self.window = window
        self.tolerancePermille = tolerancePermille
    }
}

/// A round starts at `startLimit` or cooler, and counts as throttled once it saw anything above `roundLimit`.
public struct ThermalPlan: Codable, Sendable, Equatable {
    public var startLimit: ThermalState
    public var roundLimit: ThermalState
    public var pauseMilliseconds: Int
    public var pollMilliseconds: Int
    /// All the waiting that one run may do, over all its rounds.
    public var waitSeconds: Int

    public init(
        startLimit: ThermalState = .nominal, roundLimit: ThermalState = .fair, pauseMilliseconds: Int = 500,
        pollMilliseconds: Int = 1000, waitSeconds: Int = 600
    ) {
        self.startLimit = startLimit
        self.roundLimit = roundLimit
        self.pauseMilliseconds = pauseMilliseconds
        self.pollMilliseconds = pollMilliseconds
        self.waitSeconds = waitSeconds
    }
}

/// How many times the bootstrap draws, and how wide its interval is.
public struct BootstrapPlan: Codable, Sendable, Equatable {
    public var resamples: Int
    public var confidencePercent: Int

    public init(resamples: Int = 1000, confidencePercent: Int = 95) {
        self.resamples = resamples
        self.confidencePercent = confidencePercent
    }
}

/// Everything that decides how a run goes. Two results compare only where these agree.
public struct Plan: Codable, Sendable, Equatable {
    public var schema: Int
    public var seed: UInt64
    public var rounds: Int
    public var predictionsPerRound: Int
    public var computeUnits: [ComputeUnit]
    public var warmUp: WarmUpPlan
    public var thermal: ThermalPlan
    public var loadTimeoutSeconds: Int
    public var bootstrap: BootstrapPlan
    public var models: [ModelPlan]

    public init(
        schema: Int = 1, seed: UInt64 = 2023, rounds: Int = 20, predictionsPerRound: Int = 50,
        computeUnits: [ComputeUnit] = ComputeUnit.allCases, warmUp: WarmUpPlan = WarmUpPlan(),
        thermal: ThermalPlan = ThermalPlan(), loadTimeoutSeconds: Int = 180,
        bootstrap: BootstrapPlan = BootstrapPlan(), models: [ModelPlan]
    ) {
        self.schema = schema
        self.seed = seed
        self.rounds = rounds
        self.predictionsPerRound = predictionsPerRound
        self.computeUnits = computeUnits
        self.warmUp = warmUp
        self.thermal = thermal
        self.loadTimeoutSeconds = loadTimeoutSeconds
        self.bootstrap = bootstrap
        self.models = models
    }
}
