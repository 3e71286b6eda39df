import BenchCore
import BenchCoreML
import Foundation
import XCTest

/// The whole plan under `xcodebuild test`, with the same JSON as the app's for an attachment.
final class LatencyTests: XCTestCase {
    func testPlan() throws {
        let bundle = try XCTUnwrap(Bundle.main.resourceURL)
        // Xcode hands a test runner no arguments, but the environment of TEST_RUNNER_SWIFTDEPLOY_ARGUMENTS.
        let words = ProcessInfo.processInfo.environment["SWIFTDEPLOY_ARGUMENTS"] ?? ""
        let arguments = words.split(separator: " ").map(String.init)
        let outcome = Outcome()
        let done = expectation(description: "the plan has run")
        // Not on the main thread: the run asks it for the battery, and reports must not disturb a round.
        startThread {
            outcome.put(
                Result { try BenchRun.execute(arguments: arguments, bundle: bundle, host: "xctest") { _ in } })
            done.fulfill()
        }
        wait(for: [done], timeout: 4 * 3600)
        let run = try XCTUnwrap(outcome.take()).get()
        let attachment = XCTAttachment(data: run.data, uniformTypeIdentifier: "public.json")
        attachment.name = run.file.lastPathComponent
        attachment.lifetime = .keepAlways
        add(attachment)
        XCTAssertEqual(run.result.invalid, [], "these figures are not to be quoted")
        for pair in run.result.pairs {
            for parity in pair.parity {
                XCTAssertNotEqual(parity.verdict, .fail, "\(pair.model) on \(pair.unit), \(parity.output)")
            }
        }
        XCTAssertTrue(run.result.pairs.contains { $0.status == .measured }, "nothing was measured")
    }
}

/// What one thread leaves for another.
private final class Outcome: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Result<SavedRun, any Error>?

    func put(_ result: Result<SavedRun, any Error>) {
        lock.withLock { value = result }
    }

    func take() -> Result<SavedRun, any Error>? {
        lock.withLock { value }
    }
}
