import BenchCore
import Foundation
import XCTest

final class RunnerTests: XCTestCase {
    private func run(
        _ plan: Plan, _ scenario: Scenario, process: ProcessFacts = quietProcess, journal: any Journal = NoJournal()
    ) throws -> BenchResult {
        var result: BenchResult?
        try withTemporaryFolder { folder in
            try writeGolden(to: folder)
            let device = SimulatedDevice(scenario, golden: folder)
            result = Runner(plan: plan, device: device, process: process, journal: journal).run()
        }
        return try XCTUnwrap(result)
    }

    func testEstimateRecoversTheTruth() throws {
        let plan = Plan(models: [model(named: "a")])
        let result = try run(plan, scenario(plan.models, medianMs: 1.25))
        XCTAssertEqual(result.pairs.count, 4)
        for pair in result.pairs {
            let statistics = try XCTUnwrap(pair.statistics)
            XCTAssertEqual(statistics.n, 1000)
            XCTAssertEqual(statistics.estimateMs, 1.25, accuracy: 0.02)
            XCTAssertLessThan(abs(statistics.drift), 0.02)
            XCTAssertTrue(pair.rounds.allSatisfy { $0.warmUp.settled && $0.warmUp.predictions >= 20 })
            XCTAssertEqual(pair.parity.map(\.verdict), [.pass])
        }
        XCTAssertEqual(result.invalid, ["simulator"])
    }

    func testRoundsFollowTheSchedule() throws {
        let plan = Plan(rounds: 6, predictionsPerRound: 3, models: [model(named: "a"), model(named: "b")])
        let result = try run(plan, scenario(plan.models))
        for (round, order) in plan.schedule().enumerated() {
            XCTAssertEqual(order.map { result.pairs[$0].rounds[round].position }, Array(0..<8))
            let starts = order.map { result.pairs[$0].rounds[round].startNs }
            XCTAssertEqual(starts, starts.sorted())
        }
    }

    func testThrottlingIsSeenAndMarked() throws {
        let plan = Plan(thermal: ThermalPlan(waitSeconds: 30), models: [model(named: "a")])
        var hot = try scenario(plan.models)
        hot.throttleAfterSeconds = 1
        let result = try run(plan, hot)
        XCTAssertTrue(result.invalid.contains("thermal"))
        XCTAssertEqual(result.thermal.max, .serious)
        XCTAssertEqual(result.thermal.waitedMs, 30_000)
    }

    func testCoolingDownKeepsARunClean() throws {
        let plan = Plan(models: [model(named: "a")])
        var warm = try scenario(plan.models)
        // A round works for about 0.12 s, so each one ends just before the limit and the wait resets it.
        warm.throttleAfterSeconds = 2
        warm.recoverSeconds = 0.4
        let result = try run(plan, warm)
        XCTAssertEqual(result.invalid, ["simulator"])
    }

    func testAHangingUnitLeavesTheOthers() throws {
        let plan = Plan(rounds: 2, models: [model(named: "a")])
        var stuck = try scenario(plan.models)
        stuck.hangs = [.cpuAndNeuralEngine]
        let result = try run(plan, stuck)
        XCTAssertEqual(result.pairs.map(\.status), [.measured, .timedOut, .measured, .measured])
        XCTAssertNil(result.pairs[1].statistics)
    }

    func testAnUnknownModelFailsAlone() throws {
        let plan = Plan(rounds: 2, models: [model(named: "a"), model(named: "b")])
        let result = try run(plan, scenario([plan.models[0]]))
        XCTAssertEqual(result.pairs.filter { $0.status == .failed }.count, 4)
        XCTAssertTrue(result.pairs[4].reason?.contains("does not know") ?? false)
    }

    func testWrongNumbersFailParity() throws {
        let plan = Plan(rounds: 1, models: [model(named: "a")])
        var wrong = try scenario(plan.models)
        wrong.error = 0.2
        XCTAssertEqual(try run(plan, wrong).pairs[0].parity[0].verdict, .fail)
    }

    func testDebugBuildsAndDebuggersAreMarked() throws {
        let plan = Plan(rounds: 1, models: [model(named: "a")])
        let process = ProcessFacts(debugBuild: true, debuggerAttached: true, host: "app")
        let result = try run(plan, scenario(plan.models), process: process)
        XCTAssertEqual(result.invalid, ["debug_build", "debugger", "simulator"])
    }

    func testAPairThatKilledALaunchIsSkipped() throws {
        let plan = Plan(rounds: 1, models: [model(named: "a")])
        try withTemporaryFolder { folder in
            try FileJournal(folder: folder).begin(plan.pairs[1].key)
            let next = try FileJournal(folder: folder)
            let result = try run(plan, scenario(plan.models), journal: next)
            XCTAssertEqual(result.pairs.map(\.status), [.measured, .crashed, .measured, .measured])
            XCTAssertEqual(try FileJournal(folder: folder).crashed(), [plan.pairs[1].key])
        }
    }

    func testWarmUpStopsAtItsMaximum() throws {
        var time: UInt64 = 1_000_000
        let never = warmUp(WarmUpPlan(maximum: 60)) {
            time = time * 21 / 20
            return time
        }
        XCTAssertEqual(never, WarmUp(predictions: 60, settled: false))
        XCTAssertEqual(warmUp(WarmUpPlan()) { 1_000_000 }, WarmUp(predictions: 20, settled: true))
    }
}
