#if canImport(CoreML)
    import BenchCore
    import CoreML
    import Foundation
    #if canImport(ObjectiveC)
        import ObjectiveC
    #endif

    /// One loaded Core ML model with inputs and outputs that are allocated once.
    final class CoreMLPredictor: Predictor {
        private let model: MLModel
        private let plan: ModelPlan
        private let golden: Golden
        private let files: FreshCopy
        private let clock: any MonotonicClock
        private let inputs: [InputBuffer]
        private let provider: MLDictionaryFeatureProvider
        private var options = MLPredictionOptions()
        private var answer: (any MLFeatureProvider)?

        var usesOutputBackings: Bool { !options.outputBackings.isEmpty }

        init(model: MLModel, plan: ModelPlan, golden: Golden, files: FreshCopy, clock: any MonotonicClock) throws {
            self.model = model
            self.plan = plan
            self.golden = golden
            self.files = files
            self.clock = clock
            inputs = try plan.inputs.map(InputBuffer.init)
            provider = try MLDictionaryFeatureProvider(
                dictionary: Dictionary(uniqueKeysWithValues: inputs.map { ($0.spec.name, $0.value) }))
            for spec in plan.outputs where spec.kind == .tensor {
                options.outputBackings[spec.name] = try multiArray(for: spec)
            }
        }

        func bind(sample: Int) throws {
            for input in inputs {
                try input.fill(with: golden.input(input.spec, sample: sample))
            }
        }

        /// The first prediction after a load. Where Core ML refuses our output buffers, it goes on with its own.
        func firstPrediction() throws -> UInt64 {
            do {
                return try timedPrediction()
            } catch where usesOutputBackings {
                options = MLPredictionOptions()
                return try timedPrediction()
            }
        }

        func timedPrediction() throws -> UInt64 {
            // The pool is drained after the clock stops: what Core ML autoreleases is not part of a prediction.
            try autoreleasepool {
                let start = clock.now()
                let answer = try model.prediction(from: provider, options: options)
                let end = clock.now()
                self.answer = answer
                return end - start
            }
        }

        func output(_ spec: TensorPlan) throws -> [Float] {
            guard let value = answer?.featureValue(for: spec.name) else {
                throw GoldenError("the model has no output \(spec.name)")
            }
            if spec.kind == .probabilities {
                let probabilities = value.dictionaryValue
                return plan.labels.map { probabilities[AnyHashable($0)]?.floatValue ?? .nan }
            }
            guard let array = value.multiArrayValue else {
                throw GoldenError("output \(spec.name) is no multiarray")
            }
            return try scalars(of: array)
        }
    }
#endif
