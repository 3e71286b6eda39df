import Foundation

/// One sample of one output against the golden answer, in figures from which the PSNR can be computed again.
public struct SampleParity: Codable, Sendable, Equatable {
    public var maxAbsReference: Double
    public var squaredError: Double
    public var maxAbs: Double
    public var nonFinite: Int
    /// Whether both agree on the largest score, or disagree by less than the error; nil where there are no scores.
    public var top1: Bool?
    /// Whether the reference's largest score is among the five largest here; nil where there are no scores.
    public var top5: Bool?

    public init(maxAbsReference: Double, squaredError: Double, maxAbs: Double, nonFinite: Int) {
        self.maxAbsReference = maxAbsReference
        self.squaredError = squaredError
        self.maxAbs = maxAbs
        self.nonFinite = nonFinite
    }
}

/// One output of one model on one compute unit against the golden data.
public struct OutputParity: Codable, Sendable, Equatable {
    public enum Verdict: String, Codable, Sendable {
        case pass, warn, fail
    }

    public var output: String
    /// Scalars per sample.
    public var count: Int
    /// The worst sample's 20 log10(max|reference| / rmse); nil where every sample is equal to the bit.
    public var psnrDb: Double?
    public var verdict: Verdict
    public var samples: [SampleParity]
}

/// How `answer` differs from `reference`; both hold one sample of one output.
///
/// `scores` says that the values are one vector of scores, so that ranks mean something.
public func compare(_ answer: [Float], to reference: ArraySlice<Float>, scores: Bool) -> SampleParity {
    var sample = SampleParity(maxAbsReference: 0, squaredError: 0, maxAbs: 0, nonFinite: 0)
    for (a, r) in zip(answer, reference) {
        sample.maxAbsReference = max(sample.maxAbsReference, abs(Double(r)))
        guard a.isFinite else {
            sample.nonFinite += 1
            continue
        }
        let error = Double(a) - Double(r)
        sample.squaredError += error * error
        sample.maxAbs = max(sample.maxAbs, abs(error))
    }
    guard scores, reference.count > 1, sample.nonFinite == 0 else { return sample }
    let wanted = ranked(Array(reference))
    let got = ranked(answer)
    let truth = Array(reference)
    let margin = Double(truth[wanted[0]]) - Double(truth[wanted[1]])
    sample.top1 = got[0] == wanted[0] || margin <= sample.maxAbs
    sample.top5 = got.prefix(5).contains(wanted[0])
    return sample
}

/// PSNR in dB over a sample of `count` scalars; nil where it is infinite.
public func psnr(_ sample: SampleParity, count: Int) -> Double? {
    guard sample.squaredError > 0 else { return nil }
    let rmse = (sample.squaredError / Double(count)).squareRoot()
    guard sample.maxAbsReference > 0 else { return 0 }
    return 20 * log10(sample.maxAbsReference / rmse)
}

/// The verdict over all samples of one output.
public func judge(output: String, count: Int, samples: [SampleParity], gateDb: Double) -> OutputParity {
    let worst = samples.compactMap { psnr($0, count: count) }.min()
    let broken = samples.isEmpty || samples.contains { $0.nonFinite > 0 || $0.top1 == false }
    let verdict: OutputParity.Verdict
    switch worst ?? .infinity {
    case _ where broken: verdict = .fail
    case gateDb...: verdict = .pass
    case (gateDb - 10)...: verdict = .warn
    default: verdict = .fail
    }
    return OutputParity(output: output, count: count, psnrDb: worst, verdict: verdict, samples: samples)
}

/// Indices by falling value; equal values keep their order, so that ties fall alike everywhere.
private func ranked(_ values: [Float]) -> [Int] {
    values.indices.sorted { values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1 }
}
