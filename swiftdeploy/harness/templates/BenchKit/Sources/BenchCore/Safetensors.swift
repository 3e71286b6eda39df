import Foundation

/// A tensor in row-major order, widened to 32-bit floats.
public struct Tensor: Sendable, Equatable {
    public var shape: [Int]
    public var values: [Float]

    public init(shape: [Int], values: [Float]) {
        self.shape = shape
        self.values = values
    }
}

/// Why a golden file cannot be used.
public struct GoldenError: Error, CustomStringConvertible, Equatable {
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// The reader of safetensors files: eight bytes of header length, a JSON header, raw little-endian data.
public enum Safetensors {
    private struct Entry: Decodable {
        var dtype: String
        var shape: [Int]
        var dataOffsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case dataOffsets = "data_offsets"
        }
    }

    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private struct Header: Decodable {
        var entries: [String: Entry] = [:]

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Name.self)
            for key in container.allKeys where key.stringValue != "__metadata__" {
                entries[key.stringValue] = try container.decode(Entry.self, forKey: key)
            }
        }
    }

    /// Every tensor of the file at `url`, by name.
    public static func read(_ url: URL) throws -> [String: Tensor] {
        try parse(Data(contentsOf: url))
    }

    /// Every tensor in `data`, by name. Throws `GoldenError` for what is truncated, or points outside.
    public static func parse(_ data: Data) throws -> [String: Tensor] {
        let bytes = [UInt8](data)
        guard bytes.count >= 8 else { throw GoldenError("golden data is truncated") }
        let length = bytes[0..<8].reversed().reduce(UInt64(0)) { ($0 << 8) | UInt64($1) }
        guard length <= UInt64(bytes.count - 8) else { throw GoldenError("golden data is truncated") }
        let start = 8 + Int(length)
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: Data(bytes[8..<start]))
        } catch {
            throw GoldenError("golden data has no readable header")
        }
        let body = bytes[start...]
        return try header.entries.reduce(into: [:]) { tensors, item in
            tensors[item.key] = try tensor(item.value, named: item.key, in: body)
        }
    }

    private static func tensor(_ entry: Entry, named name: String, in body: ArraySlice<UInt8>) throws -> Tensor {
        let widths = ["F32": 4, "F16": 2, "I32": 4, "I64": 8, "U8": 1]
        guard let width = widths[entry.dtype] else {
            throw GoldenError("golden tensor \(name) has dtype \(entry.dtype), which is not supported")
        }
        let offsets = entry.dataOffsets
        var count = 1
        for extent in entry.shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow, product <= body.count else {
                throw GoldenError("golden tensor \(name) is larger than its file")
            }
            count = product
        }
        guard offsets.count == 2, offsets[0] >= 0, offsets[1] <= body.count, offsets[1] - offsets[0] == count * width
        else { throw GoldenError("golden tensor \(name) points outside its file") }
        let raw = body[(body.startIndex + offsets[0])..<(body.startIndex + offsets[1])]
        return Tensor(shape: entry.shape, values: scalars(Array(raw), dtype: entry.dtype, width: width))
    }

    private static func scalars(_ raw: [UInt8], dtype: String, width: Int) -> [Float] {
        stride(from: 0, to: raw.count, by: width).map { offset in
            var bits: UInt64 = 0
            for i in (0..<width).reversed() {
                bits = (bits << 8) | UInt64(raw[offset + i])
            }
            switch dtype {
            case "F32": return Float(bitPattern: UInt32(bits))
            case "F16": return Half.float(UInt16(bits))
            case "I32": return Float(Int32(bitPattern: UInt32(bits)))
            case "I64": return Float(Int64(bitPattern: bits))
            default: return Float(bits)
            }
        }
    }
}
