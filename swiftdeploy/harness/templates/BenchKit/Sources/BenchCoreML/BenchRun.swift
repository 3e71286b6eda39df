#if canImport(CoreML)
    import BenchCore
    import CoreML
    import Foundation

    /// A run from arguments to a saved result; app, test and command line differ only in what they show of it.
    public enum BenchRun {
        /// Runs the plan and saves its sealed result. Blocks; call it from a thread of its own.
        ///
        /// The plan, models and golden data come from the Documents folder first, so that a device farm can push
        /// others without a new build, and then from `bundle`.
        public static func execute(
            arguments: [String], bundle: URL, host: String, report: @escaping (RunProgress) -> Void
        ) throws -> SavedRun {
            let documents = try documentsFolder()
            let resources = ResourceFolders([documents, bundle])
            let plan = try Plan(contentsOf: resources.find("plan.json"), arguments: arguments)
            let journal = try FileJournal(folder: documents)
            let runner = Runner(
                plan: plan, device: CoreMLDevice(resources: resources), process: currentProcess(host: host),
                journal: journal, report: report)
            let result = runner.run()
            let data = try BenchJSON.seal(result)
            let file = documents.appendingPathComponent("swiftdeploy-result-\(result.launchId).json")
            try data.write(to: file, options: .atomic)
            // A fixed name as well, which a script can pull without knowing the launch.
            try data.write(to: documents.appendingPathComponent("swiftdeploy-result.json"), options: .atomic)
            if arguments.contains("--print-result") {
                print("SWIFTDEPLOY-RESULT-BEGIN\n\(String(decoding: data, as: UTF8.self))\nSWIFTDEPLOY-RESULT-END")
            }
            return SavedRun(result: result, data: data, file: file)
        }

        /// A warm predictor for the model called `label`, for a test that brings its own clock.
        public static func predictor(label: String, unit: ComputeUnit, bundle: URL) throws -> any Predictor {
            let resources = ResourceFolders([try documentsFolder(), bundle])
            let plan = try Plan(contentsOf: resources.find("plan.json"), arguments: ["--models", label])
            let device = CoreMLDevice(resources: resources)
            let ready = try device.prepare(plan.models[0], unit: unit, timeoutSeconds: plan.loadTimeoutSeconds)
            _ = try warmUp(plan.warmUp) { try ready.predictor.timedPrediction() }
            return ready.predictor
        }

        private static func documentsFolder() throws -> URL {
            try FileManager.default.url(
                for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        }
    }

    /// A result, its bytes, and where they were saved.
    public struct SavedRun: Sendable {
        public let result: BenchResult
        public let data: Data
        public let file: URL
    }
#endif
