#if canImport(CoreML)
    import BenchCore
    import CoreML
    import Foundation

    /// Where Core ML means to run each op; empty where the system is too old to say, or does not answer in time.
    func placement(of compiled: URL, unit: ComputeUnit, timeoutSeconds: Int) -> [OpPlacement] {
        guard #available(iOS 17.4, macOS 14.4, *) else { return [] }
        let found = try? waitFor(seconds: timeoutSeconds) {
            try await readPlacement(of: compiled, unit: unit)
        }
        return found ?? []
    }

    @available(iOS 17.4, macOS 14.4, *)
    private func readPlacement(of compiled: URL, unit: ComputeUnit) async throws -> [OpPlacement] {
        let plan = try await MLComputePlan.load(contentsOf: compiled, configuration: configuration(for: unit))
        guard case .program(let program) = plan.modelStructure,
            let function = program.functions["main"] ?? program.functions.values.first
        else { return [] }
        return function.block.operations.compactMap { operation in
            // Constants have no device; they are not ops that run.
            guard let usage = plan.deviceUsage(for: operation) else { return nil }
            return OpPlacement(
                op: operation.operatorName, output: operation.outputs.first?.name ?? "",
                preferred: name(of: usage.preferred), supported: usage.supported.map(name(of:)),
                cost: plan.estimatedCost(of: operation)?.weight)
        }
    }

    @available(iOS 17.0, macOS 14.0, *)
    private func name(of device: MLComputeDevice) -> String {
        switch device {
        case .cpu: return "cpu"
        case .gpu: return "gpu"
        case .neuralEngine: return "neuralEngine"
        @unknown default: return "unknown"
        }
    }
#endif
