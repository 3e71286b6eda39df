// Signatures from Apple's documentation, bodies empty: what type-checks against this uses names that exist.
import CoreVideo
import Foundation

// https://developer.apple.com/documentation/coreml/mlcomputeunits
public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }

// https://developer.apple.com/documentation/coreml/mlmodelconfiguration
open class MLModelConfiguration: NSObject {
    open var computeUnits: MLComputeUnits = .all
}

// https://developer.apple.com/documentation/coreml/mlmodel
open class MLModel: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmodel/init(contentsof:configuration:)
    public convenience init(contentsOf url: URL, configuration: MLModelConfiguration) throws { self.init() }
    // https://developer.apple.com/documentation/coreml/mlmodel/compilemodel(at:)-45ao6
    open class func compileModel(at url: URL) async throws -> URL { url }
    // https://developer.apple.com/documentation/coreml/mlmodel/prediction(from:options:)-81mr6
    open func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions
    ) throws -> any MLFeatureProvider { input }
}

// https://developer.apple.com/documentation/coreml/mlpredictionoptions
open class MLPredictionOptions: NSObject {
    // https://developer.apple.com/documentation/coreml/mlpredictionoptions/outputbackings
    open var outputBackings: [String: Any] = [:]
}

// https://developer.apple.com/documentation/coreml/mlfeatureprovider
public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

// https://developer.apple.com/documentation/coreml/mldictionaryfeatureprovider
open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    open var featureNames: Set<String> { [] }
    open func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

// https://developer.apple.com/documentation/coreml/mlfeaturevalue
open class MLFeatureValue: NSObject {
    public convenience init(multiArray: MLMultiArray) { self.init() }
    public convenience init(pixelBuffer: CVPixelBuffer) { self.init() }
    open var multiArrayValue: MLMultiArray? { nil }
    open var dictionaryValue: [AnyHashable: NSNumber] { [:] }
}

// https://developer.apple.com/documentation/coreml/mlmultiarraydatatype
public enum MLMultiArrayDataType: Int, Sendable { case double, float32, float16, int32 }

// https://developer.apple.com/documentation/coreml/mlmultiarray
open class MLMultiArray: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmultiarray/init(pixelbuffer:shape:)
    public init(pixelBuffer: CVPixelBuffer, shape: [NSNumber]) {}
    // https://developer.apple.com/documentation/coreml/mlmultiarray/init(shape:datatype:)
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {}
    open var count: Int { 0 }
    open var dataType: MLMultiArrayDataType { .float32 }
    open var shape: [NSNumber] { [] }
    open var strides: [NSNumber] { [] }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafebytes(_:)
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(start: nil, count: 0))
    }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafemutablebytes(_:)
    public func withUnsafeMutableBytes<R>(
        _ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R
    ) rethrows -> R { try body(UnsafeMutableRawBufferPointer(start: nil, count: 0), []) }
}

// https://developer.apple.com/documentation/coreml/mlcomputedevice
public final class MLCPUComputeDevice: NSObject, Sendable {}
public final class MLGPUComputeDevice: NSObject, Sendable {}
public final class MLNeuralEngineComputeDevice: NSObject, Sendable {}
@available(iOS 17.0, macOS 14.0, *)
public enum MLComputeDevice: Sendable {
    case cpu(MLCPUComputeDevice)
    case gpu(MLGPUComputeDevice)
    case neuralEngine(MLNeuralEngineComputeDevice)
}

// https://developer.apple.com/documentation/coreml/mlmodelstructure-swift.enum
@available(iOS 17.4, macOS 14.4, *)
public enum MLModelStructure: Sendable {
    public struct NeuralNetwork: Sendable {}
    public struct Pipeline: Sendable {}
    // https://developer.apple.com/documentation/coreml/mlmodelstructure-swift.enum/program
    public struct Program: Sendable {
        public struct NamedValueType: Sendable { public let name: String }
        public struct Operation: Sendable {
            public let operatorName: String
            public let outputs: [NamedValueType]
        }
        public struct Block: Sendable { public let operations: [Operation] }
        public struct Function: Sendable { public let block: Block }
        public let functions: [String: Function]
    }
    case neuralNetwork(NeuralNetwork)
    case program(Program)
    case pipeline(Pipeline)
    case unsupported
}

// https://developer.apple.com/documentation/coreml/mlcomputeplan-1w21n
@available(iOS 17.4, macOS 14.4, *)
public final class MLComputePlan: Sendable {
    // https://developer.apple.com/documentation/coreml/mlcomputeplan-1w21n/deviceusage
    public struct DeviceUsage: Sendable {
        public let supported: [MLComputeDevice]
        public let preferred: MLComputeDevice
    }
    // https://developer.apple.com/documentation/coreml/mlcomputeplan-1w21n/cost
    public struct Cost: Sendable { public let weight: Double }
    public let modelStructure: MLModelStructure = .unsupported
    public static func load(
        contentsOf url: URL, configuration: MLModelConfiguration
    ) async throws -> MLComputePlan { MLComputePlan() }
    public func deviceUsage(for operation: MLModelStructure.Program.Operation) -> DeviceUsage? { nil }
    public func estimatedCost(of operation: MLModelStructure.Program.Operation) -> Cost? { nil }
}
