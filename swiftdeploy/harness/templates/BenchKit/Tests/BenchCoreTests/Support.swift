import BenchCore
import Foundation

func model(named name: String, gateDb: Double = 50) -> ModelPlan {
    ModelPlan(
        name: name, precision: "fp16", resource: "\(name)-fp16", sha256: "00", weightsSha256: "11", gateDb: gateDb,
        inputs: [TensorPlan(name: "image", shape: [1, 4], dtype: "float16")],
        outputs: [TensorPlan(name: "logits", shape: [1, 6], dtype: "float16")],
        labels: [], goldenInputs: "in.safetensors", goldenOutputs: "out.safetensors")
}

func withTemporaryFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
}

/// A safetensors file of one F32 tensor.
func safetensors(_ name: String, shape: [Int], _ values: [Float]) -> Data {
    let header = #"{"\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":[0,\#(values.count * 4)]}}"#
    var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) } + Data(header.utf8)
    for value in values {
        data += withUnsafeBytes(of: value.bitPattern.littleEndian) { Data($0) }
    }
    return data
}

func writeGolden(to folder: URL) throws {
    let inputs = (0..<8).map { Float($0) }
    let outputs: [Float] = [9, 1, 2, 3, 4, 5, -1, -2, 7, 0.5, 6, 3]
    try safetensors("image", shape: [2, 1, 4], inputs).write(to: folder.appendingPathComponent("in.safetensors"))
    try safetensors("logits", shape: [2, 1, 6], outputs).write(to: folder.appendingPathComponent("out.safetensors"))
}

func scenario(_ models: [ModelPlan], medianMs: Double = 1) throws -> Scenario {
    let truth = models.flatMap { model in
        ComputeUnit.allCases.map { unit in
            #"{"model":"\#(model.label)","unit":"\#(unit.rawValue)","median_ms":\#(medianMs)}"#
        }
    }
    let text = #"""
        {"truth":[\#(truth.joined(separator: ","))],"jitter":0.03,"spikes":0.01,"cold_factor":2.5,
         "cold_predictions":8,"throttle_factor":1.6,"error":1e-4,"hangs":[],"seed":11}
        """#
    return try BenchJSON.decode(Scenario.self, from: Data(text.utf8))
}

let quietProcess = ProcessFacts(debugBuild: false, debuggerAttached: false, host: "command-line")
