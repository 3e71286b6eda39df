/// The generator behind the schedule and every bootstrap: 64 bits of state, specified by five lines of integer
/// arithmetic, so that Python draws the same numbers (Steele, Lea and Flood, OOPSLA 2014).
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// An index in `0..<count`, from the upper 32 bits. `count` is at most 2^32.
    ///
    /// The standard library's own `Int.random(in:using:)` may change its algorithm; this one is part of the format.
    public mutating func index(below count: Int) -> Int {
        Int(((next() >> 32) &* UInt64(count)) >> 32)
    }

    /// A number in the open interval (0, 1), from the upper 53 bits.
    public mutating func unit() -> Double {
        (Double(next() >> 11) + 0.5) * 0x1p-53
    }
}
