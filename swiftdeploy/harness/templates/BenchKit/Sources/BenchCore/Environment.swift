import Dispatch
import Foundation

/// A clock that never runs backwards.
public protocol MonotonicClock {
    /// Nanoseconds since an arbitrary start.
    func now() -> UInt64
    func sleep(milliseconds: Int)
}

/// The system's uptime clock: on Apple's systems `mach_absolute_time`, on Linux `CLOCK_MONOTONIC`.
public struct UptimeClock: MonotonicClock, Sendable {
    public init() {}

    public func now() -> UInt64 { DispatchTime.now().uptimeNanoseconds }

    public func sleep(milliseconds: Int) { Thread.sleep(forTimeInterval: Double(milliseconds) / 1000) }
}

/// What knows how hot the device is.
public protocol ThermalMonitor {
    func state() -> ThermalState
    /// The hottest state since the last call, including changes that came and went between two calls of `state`.
    func drainMaximum() -> ThermalState
}

/// One loaded model with its buffers; it holds one sample at a time.
public protocol Predictor: AnyObject {
    /// Copies a golden sample into the input buffers; not timed.
    func bind(sample: Int) throws
    /// Runs one prediction and answers with its nanoseconds.
    func timedPrediction() throws -> UInt64
    /// The scalars of an output of the last prediction, in row-major order.
    func output(_ spec: TensorPlan) throws -> [Float]
}

/// A model that is ready, and what it took to get there.
public struct Prepared {
    public var predictor: any Predictor
    public var golden: Golden
    public var load: LoadTimes
    public var placement: [OpPlacement]
    public var weightsSha256: String?

    public init(
        predictor: any Predictor, golden: Golden, load: LoadTimes, placement: [OpPlacement], weightsSha256: String?
    ) {
        self.predictor = predictor
        self.golden = golden
        self.load = load
        self.placement = placement
        self.weightsSha256 = weightsSha256
    }
}

/// What a run is measured on: a phone, a Mac, or a simulated device.
public protocol Device {
    var clock: any MonotonicClock { get }
    var thermal: any ThermalMonitor { get }
    func facts() -> DeviceFacts
    func power() -> PowerReading
    /// Loads a model for a compute unit. Throws `TimedOut` after `timeoutSeconds`.
    func prepare(_ model: ModelPlan, unit: ComputeUnit, timeoutSeconds: Int) throws -> Prepared
}
