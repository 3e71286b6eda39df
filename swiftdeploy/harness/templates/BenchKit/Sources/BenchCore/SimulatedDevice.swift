import Foundation

/// A device that is not there: latencies from a known distribution, on a clock that only this file moves.
///
/// It runs the whole plan on any machine in no time, so that the path from plan to imported result is tested end to
/// end against a known truth. A result of it says "simulated" and is refused as a measurement.
public struct Scenario: Codable, Sendable, Equatable {
    public struct Truth: Codable, Sendable, Equatable {
        public var model: String
        public var unit: ComputeUnit
        public var medianMs: Double
    }

    public var truth: [Truth]
    /// Standard deviation of the logarithm of a latency.
    public var jitter: Double
    /// Chance of a prediction that takes three times as long.
    public var spikes: Double
    /// How much slower the first prediction after a pause is, and over how many predictions that fades.
    public var coldFactor: Double
    public var coldPredictions: Double
    /// Seconds of work after which the device throttles; nil for never.
    public var throttleAfterSeconds: Double?
    public var throttleFactor: Double
    /// Seconds of rest after which it is cool again; longer than any wait where nil.
    public var recoverSeconds: Double?
    /// Relative error of every output.
    public var error: Double
    /// Compute units that never load.
    public var hangs: [ComputeUnit]
    public var seed: UInt64
}

/// The state that clock, monitor and predictors of one simulated device share.
private final class World {
    let scenario: Scenario
    var generator: SplitMix64
    var now: UInt64 = 0
    var sincePause = 0
    var workedSeconds = 0.0
    var restedSeconds = 0.0
    var maximum = ThermalState.nominal

    init(_ scenario: Scenario) {
        self.scenario = scenario
        generator = SplitMix64(seed: scenario.seed)
    }

    var thermal: ThermalState {
        guard let limit = scenario.throttleAfterSeconds, workedSeconds > limit else { return .nominal }
        return .serious
    }

    func work(medianMs: Double) -> UInt64 {
        let s = scenario
        // Box and Muller: one normal deviate from two uniform ones.
        let normal = (-2 * log(generator.unit())).squareRoot() * cos(2 * Double.pi * generator.unit())
        var latency = medianMs * exp(s.jitter * normal)
        latency *= 1 + (s.coldFactor - 1) * exp(-Double(sincePause) / s.coldPredictions)
        if generator.unit() < s.spikes { latency *= 3 }
        if thermal > .nominal { latency *= s.throttleFactor }
        sincePause += 1
        restedSeconds = 0
        workedSeconds += latency / 1000
        maximum = max(maximum, thermal)
        let nanoseconds = UInt64(latency * 1e6)
        now += nanoseconds
        return nanoseconds
    }

    func rest(milliseconds: Int) {
        now += UInt64(milliseconds) * 1_000_000
        sincePause = 0
        restedSeconds += Double(milliseconds) / 1000
        if let recover = scenario.recoverSeconds, restedSeconds >= recover { workedSeconds = 0 }
    }
}

private struct SimulatedClock: MonotonicClock {
    let world: World
    func now() -> UInt64 { world.now }
    func sleep(milliseconds: Int) { world.rest(milliseconds: milliseconds) }
}

private struct SimulatedMonitor: ThermalMonitor {
    let world: World
    func state() -> ThermalState { world.thermal }
    func drainMaximum() -> ThermalState {
        defer { world.maximum = world.thermal }
        return max(world.maximum, world.thermal)
    }
}

private final class SimulatedPredictor: Predictor {
    private let world: World
    private let golden: Golden
    private let medianMs: Double
    private var sample = 0

    init(world: World, golden: Golden, medianMs: Double) {
        self.world = world
        self.golden = golden
        self.medianMs = medianMs
    }

    func bind(sample: Int) { self.sample = sample }

    func timedPrediction() -> UInt64 { world.work(medianMs: medianMs) }

    func output(_ spec: TensorPlan) -> [Float] {
        let error = world.scenario.error
        return golden.output(spec, sample: sample).map { value in
            value * Float(1 + error * (2 * world.generator.unit() - 1))
        }
    }
}

/// The device of a `Scenario`, with golden data from a folder.
public struct SimulatedDevice: Device {
    private let world: World
    private let folder: URL
    public let clock: any MonotonicClock
    public let thermal: any ThermalMonitor

    public init(_ scenario: Scenario, golden folder: URL) {
        world = World(scenario)
        self.folder = folder
        clock = SimulatedClock(world: world)
        thermal = SimulatedMonitor(world: world)
    }

    public func facts() -> DeviceFacts {
        DeviceFacts(
            kind: .simulated, model: "Simulated1,1", system: "none", osVersion: "0", osBuild: "0", processors: 1,
            memoryBytes: 0)
    }

    public func power() -> PowerReading {
        PowerReading(lowPowerMode: false, batteryPercent: 100, charging: false)
    }

    public func prepare(_ model: ModelPlan, unit: ComputeUnit, timeoutSeconds: Int) throws -> Prepared {
        if world.scenario.hangs.contains(unit) {
            world.rest(milliseconds: timeoutSeconds * 1000)
            throw TimedOut(seconds: timeoutSeconds)
        }
        guard let truth = world.scenario.truth.first(where: { $0.model == model.label && $0.unit == unit }) else {
            throw GoldenError("the scenario does not know \(model.label) on \(unit.rawValue)")
        }
        let golden = try Golden(model: model) { folder.appendingPathComponent($0) }
        let predictor = SimulatedPredictor(world: world, golden: golden, medianMs: truth.medianMs)
        let load = LoadTimes(
            compileNs: 250_000_000, coldNs: 1_200_000_000, warmNs: 40_000_000,
            firstPredictionNs: predictor.timedPrediction(), outputBackings: true)
        let fastest = [ComputeUnit.cpuOnly: "cpu", .cpuAndGPU: "gpu"][unit] ?? "neuralEngine"
        let placement = [
            OpPlacement(op: "conv", output: "stem", preferred: fastest, supported: ["cpu", fastest], cost: 0.75),
            OpPlacement(op: "linear", output: "head", preferred: "cpu", supported: ["cpu"], cost: 0.25),
        ]
        return Prepared(
            predictor: predictor, golden: golden, load: load, placement: placement,
            weightsSha256: model.weightsSha256)
    }
}
