/// Waits for a device to cool down, within a budget for the whole run.
public struct ThermalPolicy {
    private let plan: ThermalPlan
    private var budgetMilliseconds: Int
    /// All the waiting so far.
    public private(set) var waitedMilliseconds = 0

    public init(_ plan: ThermalPlan) {
        self.plan = plan
        budgetMilliseconds = plan.waitSeconds * 1000
    }

    /// Pauses, then waits while the device is hotter than a round may start at. False once the budget is spent.
    public mutating func coolDown(_ monitor: any ThermalMonitor, _ clock: any MonotonicClock) -> Bool {
        clock.sleep(milliseconds: plan.pauseMilliseconds)
        while monitor.state() > plan.startLimit {
            guard budgetMilliseconds > 0 else { return false }
            clock.sleep(milliseconds: plan.pollMilliseconds)
            budgetMilliseconds -= plan.pollMilliseconds
            waitedMilliseconds += plan.pollMilliseconds
        }
        return true
    }
}
