import BenchCore
import BenchCoreML
import Foundation

let usage = """
    swiftdeploy-bench MODEL.mlpackage [--plan plan.json] [--output result.json] [--rounds N] [--units all,cpuOnly]
        measures a model on this Mac; the plan defaults to ../Resources/plan.json beside the model's folder
    swiftdeploy-bench run --plan plan.json --folder DIR [--output result.json]
        measures every model of a plan on this Mac
    swiftdeploy-bench simulate --plan plan.json --scenario scenario.json [--output result.json]
        runs the plan on a simulated device, on any machine
    """

/// What ends the command: a line for stderr and an exit code of the swiftdeploy family.
struct Failure: Error {
    var line: String
    var code: Int32
}

@main
enum BenchCommand {
    static func main() {
        do {
            try run(Array(CommandLine.arguments.dropFirst()))
        } catch let failure as Failure {
            stop(failure.line, failure.code)
        } catch {
            stop("\(error)", 7)
        }
    }

    private static func stop(_ line: String, _ code: Int32) -> Never {
        FileHandle.standardError.write(Data("\(line)\n".utf8))
        exit(code)
    }

    private static func run(_ arguments: [String]) throws {
        guard let first = arguments.first, first != "--help", first != "-h" else {
            print(usage)
            return
        }
        switch first {
        case "simulate":
            let plan = try path("--plan", arguments)
            let scenario = try BenchJSON.decode(
                Scenario.self, from: Data(contentsOf: path("--scenario", arguments)))
            let folder = plan.deletingLastPathComponent()
            let device = SimulatedDevice(scenario, golden: folder)
            let process = ProcessFacts(
                debugBuild: ProcessFacts.isDebugBuild, debuggerAttached: false, host: "command-line")
            try measure(Plan(contentsOf: plan, arguments: arguments), on: device, process, arguments)
        case "run":
            try measureHere(plan: path("--plan", arguments), models: path("--folder", arguments), arguments)
        default:
            let package = URL(fileURLWithPath: first)
            guard package.pathExtension == "mlpackage" else { throw Failure(line: usage, code: 2) }
            let models = package.deletingLastPathComponent()
            let beside = models.deletingLastPathComponent().appendingPathComponent("Resources/plan.json")
            let plan = value("--plan", arguments).map { URL(fileURLWithPath: $0) } ?? beside
            let only = ["--models", package.deletingPathExtension().lastPathComponent]
            try measureHere(plan: plan, models: models, arguments + only)
        }
    }

    private static func measureHere(plan: URL, models: URL, _ arguments: [String]) throws {
        #if canImport(CoreML)
            let resources = ResourceFolders([models, plan.deletingLastPathComponent()])
            let device = CoreMLDevice(resources: resources)
            let process = currentProcess(host: "command-line")
            try measure(Plan(contentsOf: plan, arguments: arguments), on: device, process, arguments)
        #else
            throw Failure(line: "Core ML is not on this platform; use a Mac, or `simulate`", code: 8)
        #endif
    }

    private static func measure(
        _ plan: Plan, on device: any Device, _ process: ProcessFacts, _ arguments: [String]
    ) throws {
        let runner = Runner(plan: plan, device: device, process: process) { progress in
            FileHandle.standardError.write(Data("\(progress.done)/\(progress.total) \(progress.what)\n".utf8))
        }
        let result = runner.run()
        let data = try BenchJSON.seal(result)
        if let output = value("--output", arguments) {
            try data.write(to: URL(fileURLWithPath: output), options: .atomic)
        } else {
            FileHandle.standardOutput.write(data)
        }
    }

    private static func value(_ flag: String, _ arguments: [String]) -> String? {
        guard let index = arguments.firstIndex(of: flag), index + 1 < arguments.count else { return nil }
        return arguments[index + 1]
    }

    private static func path(_ flag: String, _ arguments: [String]) throws -> URL {
        guard let text = value(flag, arguments) else {
            throw Failure(line: "\(flag) is missing\n\(usage)", code: 2)
        }
        return URL(fileURLWithPath: text)
    }
}
