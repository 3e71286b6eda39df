import BenchCore
import SwiftUI

/// One section a model, one bar a compute unit; all bars share a scale.
struct ResultSections: View {
    let result: BenchResult

    var body: some View {
        ForEach(result.plan.models.map(\.label), id: \.self) { label in
            Section(label) {
                ForEach(rows(of: label), id: \.unit) { pair in
                    PairRow(pair: pair, slowestMs: slowestMs)
                }
            }
        }
    }

    private var slowestMs: Double {
        result.pairs.compactMap { $0.statistics?.estimateInterval.high }.max() ?? 1
    }

    private func rows(of label: String) -> [PairResult] {
        result.pairs.filter { "\($0.model)-\($0.precision)" == label }
    }
}

/// One compute unit: its name, the bar, the estimate with its interval, and parity.
struct PairRow: View {
    let pair: PairResult
    let slowestMs: Double

    var body: some View {
        VStack(alignment: .leading, spacing: 4) {
            HStack {
                Text(pair.unit.rawValue)
                Spacer()
                Text(figure).monospacedDigit()
            }
            GeometryReader { space in
                RoundedRectangle(cornerRadius: 3)
                    .fill(Color.accentColor)
                    .frame(width: max(2, space.size.width * share), height: 6)
            }
            .frame(height: 6)
            Text(detail).font(.caption).foregroundColor(.secondary)
        }
        .accessibilityElement(children: .combine)
    }

    private var share: Double { (pair.statistics?.estimateMs ?? 0) / slowestMs }

    private var figure: String {
        guard let statistics = pair.statistics else { return pair.status.rawValue }
        return String(format: "%.3f ms", statistics.estimateMs)
    }

    private var detail: String {
        guard let statistics = pair.statistics else { return pair.reason ?? "" }
        let interval = statistics.estimateInterval
        let worst = pair.parity.compactMap(\.psnrDb).min()
        let verdicts = pair.parity.map(\.verdict.rawValue).joined(separator: ", ")
        let parity = worst.map { String(format: "%.1f dB", $0) } ?? "exact"
        return String(format: "%.3f to %.3f ms, p99 %.3f, ", interval.low, interval.high, statistics.p99Ms)
            + "\(parity) (\(verdicts))"
    }
}
