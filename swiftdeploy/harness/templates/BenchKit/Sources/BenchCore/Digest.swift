import Foundation

/// SHA-256 (FIPS 180-4). CryptoKit is not on Linux, and the package takes no dependency.
public struct SHA256: Sendable {
    private static let constants: [UInt32] = primes(64).map { fraction(of: cbrt(Double($0))) }
    private var state: [UInt32] = SHA256.primes(8).map { SHA256.fraction(of: Double($0).squareRoot()) }
    private var words = [UInt32](repeating: 0, count: 64)
    private var pending: [UInt8] = []
    private var length: UInt64 = 0

    public init() {}

    public mutating func update(_ bytes: some Sequence<UInt8>) {
        pending.append(contentsOf: bytes)
        let whole = pending.count - pending.count % 64
        for start in stride(from: 0, to: whole, by: 64) {
            compress(pending[start..<(start + 64)])
        }
        pending.removeFirst(whole)
        length += UInt64(whole)
    }

    /// The digest in lower-case hex.
    public func hex() -> String {
        var copy = self
        let bits = (length + UInt64(pending.count)) * 8
        let zeros = (119 - pending.count % 64) % 64
        let tail = (0..<8).reversed().map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) }
        copy.update([0x80] + [UInt8](repeating: 0, count: zeros) + tail)
        return copy.state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func compress(_ block: ArraySlice<UInt8>) {
        for (i, byte) in block.enumerated() {
            words[i / 4] = (words[i / 4] << 8) | UInt32(byte)
        }
        for i in 16..<64 {
            let near = words[i - 15]
            let far = words[i - 2]
            let s0 = Self.turn(near, 7) ^ Self.turn(near, 18) ^ (near >> 3)
            let s1 = Self.turn(far, 17) ^ Self.turn(far, 19) ^ (far >> 10)
            words[i] = words[i - 16] &+ s0 &+ words[i - 7] &+ s1
        }
        // Eight scalars, not an array: an allocation for each of 64 rounds would make hashing weights take minutes.
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for i in 0..<64 {
            let s1 = Self.turn(e, 6) ^ Self.turn(e, 11) ^ Self.turn(e, 25)
            let t1 = h &+ s1 &+ ((e & f) ^ (~e & g)) &+ Self.constants[i] &+ words[i]
            let s0 = Self.turn(a, 2) ^ Self.turn(a, 13) ^ Self.turn(a, 22)
            let t2 = s0 &+ ((a & b) ^ (a & c) ^ (b & c))
            (h, g, f, e) = (g, f, e, d &+ t1)
            (d, c, b, a) = (c, b, a, t1 &+ t2)
        }
        for (i, word) in [a, b, c, d, e, f, g, h].enumerated() {
            state[i] &+= word
        }
    }

    private static func turn(_ x: UInt32, _ n: UInt32) -> UInt32 { (x >> n) | (x << (32 - n)) }

    private static func fraction(of x: Double) -> UInt32 { UInt32((x - x.rounded(.down)) * 0x1p32) }

    private static func primes(_ count: Int) -> [Int] {
        var found: [Int] = []
        var candidate = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }
}

/// The digest of `data` in hex.
public func sha256(_ data: Data) -> String {
    var hash = SHA256()
    hash.update(data)
    return hash.hex()
}

/// The digest of a file in hex, read in pieces: weights may be larger than what a phone lends an app.
public func sha256(file url: URL) throws -> String {
    let handle = try FileHandle(forReadingFrom: url)
    defer { try? handle.close() }
    var hash = SHA256()
    while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
        hash.update(piece)
    }
    return hash.hex()
}

/// The digest of a folder: that of the lines "<sha256>  <path>\n" of all its files, sorted by path, as `sha256sum`
/// would print them.
public func treeDigest(_ folder: URL) throws -> String {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
    var lines: [(path: String, line: String)] = []
    for path in paths {
        let url = folder.appendingPathComponent(path)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder), !isFolder.boolValue else {
            continue
        }
        lines.append((path, "\(try sha256(file: url))  \(path)\n"))
    }
    // Bytes, not the locale's collation: Python and sha256sum sort the same way under the C locale.
    lines.sort { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
    return sha256(Data(lines.map(\.line).joined().utf8))
}
