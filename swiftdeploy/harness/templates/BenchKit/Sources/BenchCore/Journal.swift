import Foundation

/// Remembers across launches which pair was being tried, since a failing Neural Engine compile may kill the process.
public protocol Journal {
    /// Pairs during which an earlier launch died.
    func crashed() -> Set<String>
    func begin(_ key: String) throws
    func end() throws
}

/// Remembers nothing.
public struct NoJournal: Journal {
    public init() {}
    public func crashed() -> Set<String> { [] }
    public func begin(_ key: String) {}
    public func end() {}
}

/// A journal in two small files of a folder: the pair under way, and the pairs that never ended.
public struct FileJournal: Journal {
    private let current: URL
    private let dead: URL
    private let known: Set<String>

    public init(folder: URL) throws {
        current = folder.appendingPathComponent("attempt.txt")
        dead = folder.appendingPathComponent("crashed.txt")
        var keys = Set(Self.lines(of: dead))
        // What is still under way when a launch begins is what ended the launch before.
        keys.formUnion(Self.lines(of: current))
        known = keys
        try keys.sorted().joined(separator: "\n").write(to: dead, atomically: true, encoding: .utf8)
        try "".write(to: current, atomically: true, encoding: .utf8)
    }

    public func crashed() -> Set<String> { known }

    public func begin(_ key: String) throws {
        try key.write(to: current, atomically: true, encoding: .utf8)
    }

    public func end() throws {
        try "".write(to: current, atomically: true, encoding: .utf8)
    }

    private static func lines(of url: URL) -> [String] {
        let text = (try? String(contentsOf: url, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}
