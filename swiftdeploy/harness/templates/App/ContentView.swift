import BenchCore
import BenchCoreML
import SwiftUI

/// The one screen: a button, progress while it runs, then the result.
struct ContentView: View {
    @ObservedObject var session: BenchSession

    var body: some View {
        NavigationStack {
            List {
                Section("Run") {
                    status
                    Button("Measure") { session.start() }
                        .disabled(session.isRunning)
                }
                if case .finished(let run) = session.state {
                    ResultSections(result: run.result)
                    Section("Result") {
                        ShareLink(item: run.file)
                        Text(run.file.lastPathComponent).font(.caption).foregroundColor(.secondary)
                    }
                }
            }
            .navigationTitle("Latency")
        }
        .task { session.startIfAsked() }
    }

    @ViewBuilder private var status: some View {
        switch session.state {
        case .ready:
            Text("Put the phone on a table, unplugged, with nothing else running.")
        case .running(let progress):
            ProgressView(value: Double(progress.done), total: Double(max(progress.total, 1)))
            Text(progress.what).font(.caption).foregroundColor(.secondary)
        case .finished(let run) where run.result.invalid.isEmpty:
            Text("Measured.")
        case .finished(let run):
            Text("Not to be quoted: \(run.result.invalid.joined(separator: ", "))").foregroundColor(.red)
        case .failed(let reason):
            Text(reason).foregroundColor(.red)
        }
    }
}
