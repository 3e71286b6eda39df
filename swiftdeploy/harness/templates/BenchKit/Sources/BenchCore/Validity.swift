/// The reasons why a run's figures should not be quoted. The importer derives them again from the recorded facts.
public func invalidReasons(
    device: DeviceFacts, process: ProcessFacts, power: PowerFacts, pairs: [PairResult], plan: Plan
) -> [String] {
    var reasons: [String] = []
    if process.debugBuild { reasons.append("debug_build") }
    if process.debuggerAttached { reasons.append("debugger") }
    if device.kind == .simulator || device.kind == .simulated { reasons.append("simulator") }
    if power.before.lowPowerMode || power.after.lowPowerMode { reasons.append("low_power_mode") }
    if pairs.contains(where: { $0.rounds.contains { $0.thermal > plan.thermal.roundLimit } }) {
        reasons.append("thermal")
    }
    return reasons
}
