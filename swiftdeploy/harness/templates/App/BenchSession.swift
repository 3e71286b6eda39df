import BenchCore
import BenchCoreML
import SwiftUI
import UIKit

/// One run of the bundled plan, as the screen sees it.
@MainActor
final class BenchSession: ObservableObject {
    enum State {
        case ready
        case running(RunProgress)
        case finished(SavedRun)
        case failed(String)
    }

    @Published private(set) var state: State = .ready
    private let arguments = ProcessInfo.processInfo.arguments

    var isRunning: Bool {
        if case .running = state { return true }
        return false
    }

    /// Starts at once where the launch says `--autorun`, as a device farm does.
    func startIfAsked() {
        // A screen that locks would put the app to sleep in the middle of a round, also under test.
        UIApplication.shared.isIdleTimerDisabled = true
        if arguments.contains("--autorun") { start() }
    }

    func start() {
        guard !isRunning else { return }
        guard let bundle = Bundle.main.resourceURL else {
            state = .failed("the app has no resources")
            return
        }
        state = .running(RunProgress(done: 0, total: 1, what: "start"))
        let arguments = arguments
        startThread { [weak self] in
            let outcome = Result {
                try BenchRun.execute(arguments: arguments, bundle: bundle, host: "app") { progress in
                    Task { @MainActor in self?.show(progress) }
                }
            }
            Task { @MainActor in self?.finish(outcome) }
        }
    }

    private func show(_ progress: RunProgress) {
        if isRunning { state = .running(progress) }
    }

    private func finish(_ outcome: Result<SavedRun, any Error>) {
        switch outcome {
        case .success(let run): state = .finished(run)
        case .failure(let error): state = .failed("\(error)")
        }
        if arguments.contains("--exit") { exit(0) }
    }
}
