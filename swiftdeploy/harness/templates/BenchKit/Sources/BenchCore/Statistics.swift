/// A bootstrap interval, in the unit of the samples.
public struct Interval: Codable, Sendable, Equatable {
    public var low: Double
    public var high: Double

    public init(low: Double, high: Double) {
        self.low = low
        self.high = high
    }
}

/// What is stated of one model on one compute unit. Times are milliseconds.
///
/// Every figure is recomputed from the raw samples when a result is imported, by code that shares no line with this.
public struct Statistics: Codable, Sendable, Equatable {
    public var n: Int
    public var minMs: Double
    public var p5Ms: Double
    public var p50Ms: Double
    public var meanMs: Double
    public var p90Ms: Double
    public var p95Ms: Double
    public var p99Ms: Double
    public var maxMs: Double
    /// Sample standard deviation (divisor n - 1).
    public var stdMs: Double
    /// Median absolute deviation from the median, unscaled.
    public var madMs: Double
    /// Standard deviation over mean.
    public var cv: Double
    /// Interval of the median of all samples, taken as independent.
    public var medianInterval: Interval
    /// Median of the last quarter of the samples over that of the first quarter, minus one.
    public var drift: Double
    /// Samples more than three interquartile ranges outside the quartiles.
    public var outliers: Int
    /// The primary number: the median of the rounds' medians.
    public var estimateMs: Double
    /// Interval of the primary number, from resampled rounds: samples within a round are not independent.
    public var estimateInterval: Interval
}

/// Milliseconds of a nanosecond count; the division rounds once.
public func milliseconds(_ nanoseconds: UInt64) -> Double {
    Double(nanoseconds) / 1e6
}

/// The sum from the left. Compensated or pairwise sums would differ between languages and their versions.
public func sequentialSum(_ values: [Double]) -> Double {
    values.reduce(0, +)
}

/// The middle value of `sorted`, or the mean of the two middle ones. `sorted` is ascending and not empty.
public func median(sorted: [Double]) -> Double {
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// The middle value of `values`, in any order.
public func median(_ values: [Double]) -> Double {
    median(sorted: values.sorted())
}

/// The quantile at `numerator / denominator` by linear interpolation between closest ranks (Hyndman and Fan, type 7).
///
/// The rank is split in integers: a product of floating-point numbers could fall on either side of a whole rank.
public func quantile(sorted: [Double], _ numerator: Int, of denominator: Int) -> Double {
    let position = (sorted.count - 1) * numerator
    let lower = position / denominator
    let upper = min(lower + 1, sorted.count - 1)
    let fraction = Double(position % denominator) / Double(denominator)
    return sorted[lower] + fraction * (sorted[upper] - sorted[lower])
}

/// The percentile interval of the median of `values` over `resamples` draws with replacement.
public func bootstrapMedian(_ values: [Double], resamples: Int, confidencePercent: Int, seed: UInt64) -> Interval {
    var generator = SplitMix64(seed: seed)
    var medians: [Double] = []
    medians.reserveCapacity(resamples)
    var drawn = [Double](repeating: 0, count: values.count)
    for _ in 0..<resamples {
        for i in drawn.indices {
            drawn[i] = values[generator.index(below: values.count)]
        }
        medians.append(median(drawn))
    }
    medians.sort()
    return Interval(
        low: quantile(sorted: medians, 100 - confidencePercent, of: 200),
        high: quantile(sorted: medians, 100 + confidencePercent, of: 200))
}

/// The statistics of `rounds` (nanoseconds, in the order in which they were taken); nil where nothing was measured.
public func summarize(rounds: [[UInt64]], bootstrap: BootstrapPlan, seed: UInt64) -> Statistics? {
    let measured = rounds.filter { !$0.isEmpty }.map { $0.map(milliseconds) }
    let samples = measured.flatMap { $0 }
    guard !samples.isEmpty else { return nil }
    let sorted = samples.sorted()
    let n = samples.count
    let mean = sequentialSum(samples) / Double(n)
    let squares = sequentialSum(samples.map { ($0 - mean) * ($0 - mean) })
    let std = n > 1 ? (squares / Double(n - 1)).squareRoot() : 0
    let middle = median(sorted: sorted)
    let quartiles = (quantile(sorted: sorted, 1, of: 4), quantile(sorted: sorted, 3, of: 4))
    let fence = 3 * (quartiles.1 - quartiles.0)
    let quarter = max(n / 4, 1)
    let roundMedians = measured.map { median($0) }
    let interval = { (values: [Double]) in
        bootstrapMedian(
            values, resamples: bootstrap.resamples, confidencePercent: bootstrap.confidencePercent, seed: seed)
    }
    return Statistics(
        n: n,
        minMs: sorted[0],
        p5Ms: quantile(sorted: sorted, 5, of: 100),
        p50Ms: middle,
        meanMs: mean,
        p90Ms: quantile(sorted: sorted, 90, of: 100),
        p95Ms: quantile(sorted: sorted, 95, of: 100),
        p99Ms: quantile(sorted: sorted, 99, of: 100),
        maxMs: sorted[n - 1],
        stdMs: std,
        madMs: median(samples.map { abs($0 - middle) }),
        cv: std / mean,
        medianInterval: interval(samples),
        drift: median(Array(samples.suffix(quarter))) / median(Array(samples.prefix(quarter))) - 1,
        outliers: samples.filter { $0 < quartiles.0 - fence || $0 > quartiles.1 + fence }.count,
        estimateMs: median(roundMedians),
        estimateInterval: interval(roundMedians))
}
