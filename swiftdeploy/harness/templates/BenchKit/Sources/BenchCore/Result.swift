import Foundation

/// What was measured on. `kind` is "phone", "simulator", "mac" or "simulated".
public struct DeviceFacts: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        case phone, simulator, mac, simulated
    }

    public var kind: Kind
    /// The hardware's identifier, such as "iPhone14,7".
    public var model: String
    public var system: String
    public var osVersion: String
    public var osBuild: String
    public var processors: Int
    public var memoryBytes: UInt64

    public init(
        kind: Kind, model: String, system: String, osVersion: String, osBuild: String, processors: Int,
        memoryBytes: UInt64
    ) {
        self.kind = kind
        self.model = model
        self.system = system
        self.osVersion = osVersion
        self.osBuild = osBuild
        self.processors = processors
        self.memoryBytes = memoryBytes
    }
}

/// The process that measured. A debug build, or one under a debugger, measures something else than what ships.
public struct ProcessFacts: Codable, Sendable, Equatable {
    public var debugBuild: Bool
    public var debuggerAttached: Bool
    /// "app", "xctest" or "command-line".
    public var host: String

    public init(debugBuild: Bool, debuggerAttached: Bool, host: String) {
        self.debugBuild = debugBuild
        self.debuggerAttached = debuggerAttached
        self.host = host
    }

    /// Whether this very code was compiled for debugging.
    public static var isDebugBuild: Bool {
        #if DEBUG
            return true
        #else
            return false
        #endif
    }
}

/// Battery and power mode at one moment; nil where the system does not say.
public struct PowerReading: Codable, Sendable, Equatable {
    public var lowPowerMode: Bool
    public var batteryPercent: Int?
    public var charging: Bool?

    public init(lowPowerMode: Bool, batteryPercent: Int? = nil, charging: Bool? = nil) {
        self.lowPowerMode = lowPowerMode
        self.batteryPercent = batteryPercent
        self.charging = charging
    }
}

/// Power before and after a run.
public struct PowerFacts: Codable, Sendable, Equatable {
    public var before: PowerReading
    public var after: PowerReading
}

/// Temperature over a run.
public struct ThermalFacts: Codable, Sendable, Equatable {
    public var before: ThermalState
    public var max: ThermalState
    public var after: ThermalState
    public var waitedMs: Int
}

/// The times that come before steady state, in nanoseconds. `compileNs` is nil where Xcode compiled the package.
public struct LoadTimes: Codable, Sendable, Equatable {
    public var compileNs: UInt64?
    /// First load from a path that the system has not seen: includes specialisation for the device.
    public var coldNs: UInt64
    /// Load from the same path again.
    public var warmNs: UInt64
    /// First prediction after the warm load.
    public var firstPredictionNs: UInt64
    /// Whether Core ML writes into buffers that were allocated once, or allocates its outputs anew each time.
    public var outputBackings: Bool

    public init(
        compileNs: UInt64? = nil, coldNs: UInt64, warmNs: UInt64, firstPredictionNs: UInt64, outputBackings: Bool
    ) {
        self.compileNs = compileNs
        self.coldNs = coldNs
        self.warmNs = warmNs
        self.firstPredictionNs = firstPredictionNs
        self.outputBackings = outputBackings
    }
}

/// Where Core ML means to run one op: its word before running, not a trace.
public struct OpPlacement: Codable, Sendable, Equatable {
    public var op: String
    public var output: String
    public var preferred: String
    public var supported: [String]
    /// Share of the model's estimated cost, nil where Core ML gives none.
    public var cost: Double?

    public init(op: String, output: String, preferred: String, supported: [String], cost: Double?) {
        self.op = op
        self.output = output
        self.preferred = preferred
        self.supported = supported
        self.cost = cost
    }
}

/// One round of one pair: `position` is its place in the round's order, `startNs` counts from the run's start.
public struct Round: Codable, Sendable, Equatable {
    public var index: Int
    public var position: Int
    public var startNs: UInt64
    public var thermal: ThermalState
    public var warmUp: WarmUp
    public var samplesNs: [UInt64]
}

/// One model on one compute unit.
public struct PairResult: Codable, Sendable, Equatable {
    public enum Status: String, Codable, Sendable {
        case measured
        case failed
        case timedOut = "timed_out"
        /// An earlier launch died while it tried this pair.
        case crashed
    }

    public var model: String
    public var precision: String
    public var sha256: String
    public var weightsSha256: String?
    public var unit: ComputeUnit
    public var status: Status
    public var reason: String?
    public var load: LoadTimes?
    public var placement: [OpPlacement]
    public var parity: [OutputParity]
    public var rounds: [Round]
    public var statistics: Statistics?
}

/// Everything that one run found; `swiftdeploy harness import` reads it.
public struct BenchResult: Codable, Sendable, Equatable {
    public var schema: Int
    public var kind: String
    public var createdAt: String
    public var launchId: String
    public var plan: Plan
    public var device: DeviceFacts
    public var process: ProcessFacts
    public var power: PowerFacts
    public var thermal: ThermalFacts
    public var pairs: [PairResult]
    /// Why these figures should not be quoted; empty for a clean run.
    public var invalid: [String]
    /// SHA-256 of the file with this field's digits all zero.
    public var seal: String
}
