import BenchCore
import Foundation
import XCTest

final class PlumbingTests: XCTestCase {
    func testPlansSurviveJSON() throws {
        let plan = Plan(seed: .max, models: [model(named: "a")])
        XCTAssertEqual(try BenchJSON.decode(Plan.self, from: BenchJSON.encode(plan)), plan)
    }

    func testTheSealCoversEveryByte() throws {
        try withTemporaryFolder { folder in
            try writeGolden(to: folder)
            let plan = Plan(rounds: 1, predictionsPerRound: 2, models: [model(named: "a")])
            let device = SimulatedDevice(try scenario(plan.models), golden: folder)
            let sealed = try BenchJSON.seal(Runner(plan: plan, device: device, process: quietProcess).run())
            let seal = try BenchJSON.decode(BenchResult.self, from: sealed).seal
            let blank = String(repeating: "0", count: 64)
            let text = try XCTUnwrap(String(data: sealed, encoding: .utf8))
            XCTAssertEqual(sha256(Data(text.replacingOccurrences(of: seal, with: blank).utf8)), seal)
        }
    }

    func testChangesFromTheCommandLine() throws {
        let plan = Plan(models: [model(named: "a"), model(named: "b")])
        let arguments = ["App", "-NSTreatUnknownArgumentsAsOpen", "NO", "--rounds", "3", "--units", "all,cpuOnly",
            "--models", "b", "--predictions", "7", "--seed", "9"]
        let changed = try plan.changed(PlanChange(arguments: arguments))
        XCTAssertEqual(changed.rounds, 3)
        XCTAssertEqual(changed.predictionsPerRound, 7)
        XCTAssertEqual(changed.computeUnits, [.all, .cpuOnly])
        XCTAssertEqual(changed.models.map(\.name), ["b"])
        XCTAssertEqual(changed.seed, 9)
        XCTAssertEqual(try plan.changed(PlanChange(arguments: ["App"])), plan)
    }

    func testBadChangesAreRefused() throws {
        for arguments in [["--rounds", "0"], ["--rounds", "many"], ["--units", "npu"], ["--seed", "-1"]] {
            XCTAssertThrowsError(try PlanChange(arguments: arguments))
        }
        let change = try PlanChange(arguments: ["--models", "z"])
        XCTAssertThrowsError(try Plan(models: [model(named: "a")]).changed(change))
    }

    func testGoldenDataMustFitTheModel() throws {
        try withTemporaryFolder { folder in
            try writeGolden(to: folder)
            let find = { (name: String) in folder.appendingPathComponent(name) }
            XCTAssertEqual(try Golden(model: model(named: "a"), find: find).samples, 2)
            var other = model(named: "a")
            other.inputs[0].shape = [1, 5]
            XCTAssertThrowsError(try Golden(model: other, find: find))
            other = model(named: "a")
            other.outputs[0].name = "scores"
            XCTAssertThrowsError(try Golden(model: other, find: find))
        }
    }

    func testATimeLimitEndsAWait() throws {
        XCTAssertEqual(try withTimeLimit(seconds: 5) { 7 }, 7)
        XCTAssertThrowsError(try withTimeLimit(seconds: 5) { throw GoldenError("no") })
        let never = DispatchSemaphore(value: 0)
        XCTAssertThrowsError(try withTimeLimit(seconds: 1) { never.wait() }) {
            XCTAssertEqual($0 as? TimedOut, TimedOut(seconds: 1))
        }
        never.signal()
    }

    func testAWaitForAsynchronousWork() throws {
        XCTAssertEqual(try waitFor(seconds: 5) { 7 }, 7)
        XCTAssertThrowsError(try waitFor(seconds: 5) { throw GoldenError("no") })
        XCTAssertThrowsError(try waitFor(seconds: 1) { try await Task.sleep(nanoseconds: 3_000_000_000) }) {
            XCTAssertTrue($0 is TimedOut)
        }
    }

    func testTheClockRunsForwards() {
        let clock = UptimeClock()
        let start = clock.now()
        clock.sleep(milliseconds: 2)
        XCTAssertGreaterThanOrEqual(clock.now() - start, 2_000_000)
    }

    func testThermalStatesRise() {
        XCTAssertEqual(ThermalState.allCases, ThermalState.allCases.sorted())
    }
}
