import Foundation

/// How far a run has come.
public struct RunProgress: Sendable, Equatable {
    public var done: Int
    public var total: Int
    public var what: String

    public init(done: Int, total: Int, what: String) {
        self.done = done
        self.total = total
        self.what = what
    }
}

/// Runs a plan on a device, from loading to statistics. Blocks its thread; use it from one thread only.
public final class Runner {
    private let plan: Plan
    private let device: any Device
    private let process: ProcessFacts
    private let journal: any Journal
    private let report: (RunProgress) -> Void
    private var results: [PairResult]
    private var prepared: [Int: Prepared] = [:]
    private var policy: ThermalPolicy

    public init(
        plan: Plan, device: any Device, process: ProcessFacts, journal: any Journal = NoJournal(),
        report: @escaping (RunProgress) -> Void = { _ in }
    ) {
        self.plan = plan
        self.device = device
        self.process = process
        self.journal = journal
        self.report = report
        policy = ThermalPolicy(plan.thermal)
        results = plan.pairs.map { pair in
            PairResult(
                model: pair.model.name, precision: pair.model.precision, sha256: pair.model.sha256, unit: pair.unit,
                status: .failed, placement: [], parity: [], rounds: [])
        }
    }

    /// Carries the plan out. Pairs that fail say so in the result; the others go on.
    public func run(createdAt: Date = Date(), launchId: String = UUID().uuidString) -> BenchResult {
        let before = (device.thermal.state(), device.power())
        var hottest = device.thermal.drainMaximum()
        prepareAll()
        hottest = max(hottest, device.thermal.drainMaximum())
        let start = device.clock.now()
        for (index, order) in plan.schedule().enumerated() {
            for (position, pair) in order.enumerated() where prepared[pair] != nil {
                report(RunProgress(done: index, total: plan.rounds, what: plan.pairs[pair].key))
                hottest = max(hottest, measure(pair, round: index, position: position, start: start))
            }
        }
        for index in results.indices {
            let rounds = results[index].rounds.map(\.samplesNs)
            results[index].statistics = summarize(rounds: rounds, bootstrap: plan.bootstrap, seed: plan.seed)
        }
        let after = device.thermal.state()
        let power = PowerFacts(before: before.1, after: device.power())
        report(RunProgress(done: plan.rounds, total: plan.rounds, what: ""))
        return BenchResult(
            schema: plan.schema, kind: "swiftdeploy-latency",
            createdAt: ISO8601DateFormatter().string(from: createdAt), launchId: launchId, plan: plan,
            device: device.facts(), process: process, power: power,
            thermal: ThermalFacts(
                before: before.0, max: max(hottest, after), after: after, waitedMs: policy.waitedMilliseconds),
            pairs: results,
            invalid: invalidReasons(
                device: device.facts(), process: process, power: power, pairs: results, plan: plan),
            seal: "")
    }

    private func prepareAll() {
        let crashed = journal.crashed()
        for (index, pair) in plan.pairs.enumerated() {
            report(RunProgress(done: 0, total: plan.rounds, what: "load \(pair.key)"))
            if crashed.contains(pair.key) {
                fail(index, .crashed, "an earlier launch died while it tried this")
                continue
            }
            do {
                try journal.begin(pair.key)
                let ready = try device.prepare(pair.model, unit: pair.unit, timeoutSeconds: plan.loadTimeoutSeconds)
                results[index].parity = try parity(of: pair.model, ready)
                results[index].load = ready.load
                results[index].placement = ready.placement
                results[index].weightsSha256 = ready.weightsSha256
                results[index].status = .measured
                prepared[index] = ready
            } catch let error as TimedOut {
                fail(index, .timedOut, "\(error)")
            } catch {
                fail(index, .failed, "\(error)")
            }
            try? journal.end()
        }
    }

    private func parity(of model: ModelPlan, _ ready: Prepared) throws -> [OutputParity] {
        var samples = [[SampleParity]](repeating: [], count: model.outputs.count)
        for sample in 0..<ready.golden.samples {
            try ready.predictor.bind(sample: sample)
            _ = try ready.predictor.timedPrediction()
            for (index, spec) in model.outputs.enumerated() {
                let answer = try ready.predictor.output(spec)
                guard answer.count == spec.count else {
                    throw GoldenError("\(spec.name) holds \(answer.count) scalars, not \(spec.count)")
                }
                let scores = spec.shape.last == spec.count
                let reference = ready.golden.output(spec, sample: sample)
                samples[index].append(compare(answer, to: reference, scores: scores))
            }
        }
        return zip(model.outputs, samples).map { spec, samples in
            judge(output: spec.name, count: spec.count, samples: samples, gateDb: model.gateDb)
        }
    }

    /// Measures one pair for one round; answers with the hottest state seen.
    private func measure(_ pair: Int, round: Int, position: Int, start: UInt64) -> ThermalState {
        guard let ready = prepared[pair] else { return .nominal }
        let cool = policy.coolDown(device.thermal, device.clock)
        let waiting = device.thermal.drainMaximum()
        var samples: [UInt64] = []
        samples.reserveCapacity(plan.predictionsPerRound)
        do {
            try ready.predictor.bind(sample: round % ready.golden.samples)
            let begin = device.clock.now() - start
            let warm = try warmUp(plan.warmUp) { try ready.predictor.timedPrediction() }
            for _ in 0..<plan.predictionsPerRound {
                samples.append(try ready.predictor.timedPrediction())
            }
            // A round that had to start hot counts as hot even where the state fell while it ran.
            let thermal = max(device.thermal.drainMaximum(), cool ? .nominal : waiting)
            results[pair].rounds.append(
                Round(
                    index: round, position: position, startNs: begin, thermal: thermal, warmUp: warm,
                    samplesNs: samples))
            return max(thermal, waiting)
        } catch {
            fail(pair, .failed, "round \(round): \(error)")
            return waiting
        }
    }

    private func fail(_ index: Int, _ status: PairResult.Status, _ reason: String) {
        prepared[index] = nil
        results[index].status = status
        results[index].reason = reason
    }
}
