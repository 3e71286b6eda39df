#if canImport(CoreML)
    import BenchCore
    import CoreML
    import Foundation

    /// The machine that this runs on, with Core ML.
    public struct CoreMLDevice: Device {
        public let clock: any MonotonicClock = UptimeClock()
        public let thermal: any ThermalMonitor = ProcessThermalMonitor()
        private let resources: ResourceFolders

        public init(resources: ResourceFolders) {
            self.resources = resources
        }

        public func facts() -> DeviceFacts { currentDevice() }

        public func power() -> PowerReading { currentPower() }

        public func prepare(_ model: ModelPlan, unit: ComputeUnit, timeoutSeconds: Int) throws -> Prepared {
            let golden = try Golden(model: model, find: resources.find)
            var source = try resources.model(model.resource)
            var compileNs: UInt64?
            if source.pathExtension == "mlpackage" {
                try checkDigest(of: source, model)
                let package = source
                let start = clock.now()
                source = try waitFor(seconds: timeoutSeconds) { try await MLModel.compileModel(at: package) }
                compileNs = clock.now() - start
            }
            let fresh = try FreshCopy(of: source, name: model.resource)
            let (_, coldNs) = try load(fresh.url, unit, timeoutSeconds)
            let (loaded, warmNs) = try load(fresh.url, unit, timeoutSeconds)
            let predictor = try CoreMLPredictor(
                model: loaded, plan: model, golden: golden, files: fresh, clock: clock)
            try predictor.bind(sample: 0)
            let firstNs = try predictor.firstPrediction()
            let weights = fresh.url.appendingPathComponent("weights/weight.bin")
            return Prepared(
                predictor: predictor, golden: golden,
                load: LoadTimes(
                    compileNs: compileNs, coldNs: coldNs, warmNs: warmNs, firstPredictionNs: firstNs,
                    outputBackings: predictor.usesOutputBackings),
                placement: placement(of: fresh.url, unit: unit, timeoutSeconds: timeoutSeconds),
                weightsSha256: try? sha256(file: weights))
        }

        private func checkDigest(of package: URL, _ model: ModelPlan) throws {
            guard try treeDigest(package) == model.sha256 else {
                throw GoldenError("\(package.lastPathComponent) is not the package that the plan names")
            }
        }

        private func load(_ url: URL, _ unit: ComputeUnit, _ seconds: Int) throws -> (MLModel, UInt64) {
            let start = clock.now()
            let model = try withTimeLimit(seconds: seconds) {
                try MLModel(contentsOf: url, configuration: configuration(for: unit))
            }
            return (model, clock.now() - start)
        }
    }

    /// Core ML's configuration for a compute unit.
    func configuration(for unit: ComputeUnit) -> MLModelConfiguration {
        let configuration = MLModelConfiguration()
        switch unit {
        case .all: configuration.computeUnits = .all
        case .cpuAndNeuralEngine: configuration.computeUnits = .cpuAndNeuralEngine
        case .cpuAndGPU: configuration.computeUnits = .cpuAndGPU
        case .cpuOnly: configuration.computeUnits = .cpuOnly
        }
        return configuration
    }

    /// A compiled model under a path that the system has not seen, so that a load of it is a cold one: the cache of
    /// models specialised for the device goes by path. Removed with its last user.
    final class FreshCopy {
        let url: URL
        private let folder: URL

        init(of source: URL, name: String) throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            url = folder.appendingPathComponent("\(name).mlmodelc")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try FileManager.default.copyItem(at: source, to: url)
        }

        deinit {
            try? FileManager.default.removeItem(at: folder)
        }
    }
#endif
