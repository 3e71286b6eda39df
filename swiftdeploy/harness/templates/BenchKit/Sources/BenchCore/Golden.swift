import Foundation

/// A model's golden data: what went in, and what the oracle answered; every tensor leads with the sample axis.
public struct Golden: Sendable {
    public var inputs: [String: Tensor]
    public var outputs: [String: Tensor]
    public var samples: Int

    /// Reads both files of `model` through `find`, which maps a file name to a URL.
    public init(model: ModelPlan, find: (String) throws -> URL) throws {
        inputs = try Safetensors.read(find(model.goldenInputs))
        outputs = try Safetensors.read(find(model.goldenOutputs))
        samples = inputs[model.inputs.first?.name ?? ""]?.shape.first ?? 0
        guard samples > 0 else { throw GoldenError("golden data of \(model.label) holds no sample") }
        for (specs, tensors) in [(model.inputs, inputs), (model.outputs, outputs)] {
            for spec in specs {
                guard let tensor = tensors[spec.name] else {
                    throw GoldenError("golden data of \(model.label) lacks \(spec.name)")
                }
                guard tensor.values.count == samples * spec.count, tensor.shape.first == samples else {
                    throw GoldenError("golden data of \(model.label) has another shape than \(spec.name)")
                }
            }
        }
    }

    /// The values of one sample of an input.
    public func input(_ spec: TensorPlan, sample: Int) -> ArraySlice<Float> {
        inputs[spec.name]!.values[(sample * spec.count)..<((sample + 1) * spec.count)]
    }

    /// The values of one sample of an output.
    public func output(_ spec: TensorPlan, sample: Int) -> ArraySlice<Float> {
        outputs[spec.name]!.values[(sample * spec.count)..<((sample + 1) * spec.count)]
    }
}
