import Foundation

/// Where a run finds its plan, its models and their golden data: the first of several folders that has the file.
public struct ResourceFolders: Sendable {
    private let folders: [URL]

    public init(_ folders: [URL]) {
        self.folders = folders
    }

    /// The URL of `name`. Throws `GoldenError` where no folder has it.
    public func find(_ name: String) throws -> URL {
        for folder in folders {
            let url = folder.appendingPathComponent(name)
            if FileManager.default.fileExists(atPath: url.path) { return url }
        }
        throw GoldenError("\(name) is not among the resources")
    }

    /// A compiled model, or else the package to compile; a folder is asked for both before the next one.
    public func model(_ resource: String) throws -> URL {
        for folder in folders {
            for suffix in ["mlmodelc", "mlpackage"] {
                let url = folder.appendingPathComponent("\(resource).\(suffix)")
                if FileManager.default.fileExists(atPath: url.path) { return url }
            }
        }
        throw GoldenError("\(resource) is not among the resources")
    }

}

extension Plan {
    /// The plan in the file at `url`, with what `arguments` change of it.
    public init(contentsOf url: URL, arguments: [String]) throws {
        let plan = try BenchJSON.decode(Plan.self, from: Data(contentsOf: url))
        self = try plan.changed(PlanChange(arguments: arguments))
    }
}
