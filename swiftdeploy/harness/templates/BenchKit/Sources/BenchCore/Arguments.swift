/// What a launch may change of the bundled plan: `--rounds 5 --predictions 20 --units all,cpuOnly --models a,b`.
///
/// App, test and command line share this, so that a device farm drives all three alike. An importer that knows the
/// original plan refuses the changed one, unless it is told of the change.
public struct PlanChange: Sendable, Equatable {
    public var rounds: Int?
    public var predictions: Int?
    public var units: [ComputeUnit]?
    public var models: [String]?
    public var seed: UInt64?

    /// Reads `arguments`; what is not ours (Xcode passes its own) is left alone. Throws `GoldenError` for a bad value.
    public init(arguments: [String]) throws {
        var values: [String: String] = [:]
        for (flag, value) in zip(arguments, arguments.dropFirst()) where flag.hasPrefix("--") {
            values[flag] = value
        }
        rounds = try Self.number(values["--rounds"], "--rounds")
        predictions = try Self.number(values["--predictions"], "--predictions")
        seed = try Self.number(values["--seed"], "--seed").map { UInt64($0) }
        models = values["--models"]?.split(separator: ",").map(String.init)
        units = try values["--units"]?.split(separator: ",").map { name in
            guard let unit = ComputeUnit(rawValue: String(name)) else {
                throw GoldenError("\(name) is no compute unit")
            }
            return unit
        }
    }

    private static func number(_ text: String?, _ flag: String) throws -> Int? {
        guard let text else { return nil }
        guard let number = Int(text), number > 0 else { throw GoldenError("\(flag) needs a positive number") }
        return number
    }
}

extension Plan {
    /// This plan with a launch's changes. Throws `GoldenError` where no model is left.
    public func changed(_ change: PlanChange) throws -> Plan {
        var plan = self
        plan.rounds = change.rounds ?? rounds
        plan.predictionsPerRound = change.predictions ?? predictionsPerRound
        plan.computeUnits = change.units ?? computeUnits
        plan.seed = change.seed ?? seed
        if let wanted = change.models {
            plan.models = models.filter { model in
                [model.label, model.name, model.resource].contains(where: wanted.contains)
            }
            guard !plan.models.isEmpty else { throw GoldenError("the plan holds none of \(wanted)") }
        }
        return plan
    }
}
