/// One model on one compute unit.
public struct Pair: Sendable, Equatable {
    public var model: ModelPlan
    public var unit: ComputeUnit

    /// What names the pair in a journal and in progress lines.
    public var key: String { "\(model.label)/\(unit.rawValue)" }
}

extension Plan {
    /// Every model on every compute unit, models outermost.
    public var pairs: [Pair] {
        models.flatMap { model in computeUnits.map { Pair(model: model, unit: $0) } }
    }

    /// For each round the order in which the pairs run: Fisher and Yates' shuffle, from the plan's seed.
    ///
    /// Interleaving gives each pair its share of whatever drifts; the random order breaks what would alternate with
    /// it. The order follows from the plan alone, so that an importer can tell a reordered result.
    public func schedule() -> [[Int]] {
        var generator = SplitMix64(seed: seed)
        return (0..<rounds).map { _ in
            var order = Array(pairs.indices)
            for i in stride(from: order.count - 1, to: 0, by: -1) {
                order.swapAt(i, generator.index(below: i + 1))
            }
            return order
        }
    }
}
