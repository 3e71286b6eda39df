/// What a warm-up came to.
public struct WarmUp: Codable, Sendable, Equatable {
    public var predictions: Int
    public var settled: Bool

    public init(predictions: Int, settled: Bool) {
        self.predictions = predictions
        self.settled = settled
    }
}

/// Predicts until latency settles: clocks ramp up over the first tens of calls, and every pause lets them fall again.
public func warmUp(_ plan: WarmUpPlan, predict: () throws -> UInt64) rethrows -> WarmUp {
    var times: [Double] = []
    while times.count < plan.maximum {
        times.append(milliseconds(try predict()))
        if times.count >= plan.minimum, hasSettled(times, plan) {
            return WarmUp(predictions: times.count, settled: true)
        }
    }
    return WarmUp(predictions: times.count, settled: false)
}

/// Whether the medians of the last two windows differ by less than the tolerance.
func hasSettled(_ times: [Double], _ plan: WarmUpPlan) -> Bool {
    guard times.count >= 2 * plan.window else { return false }
    let last = median(Array(times.suffix(plan.window)))
    let before = median(Array(times.suffix(2 * plan.window).prefix(plan.window)))
    return abs(last - before) * 1000 < Double(plan.tolerancePermille) * before
}
