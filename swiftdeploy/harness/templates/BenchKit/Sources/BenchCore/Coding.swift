import Foundation

/// The one form in which plans and results are read and written: JSON with snake_case keys in sorted order.
public enum BenchJSON {
    private static let blank = String(repeating: "0", count: 64)

    public static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: data)
    }

    public static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    /// The bytes of a result with its seal: an edit or a truncated copy is then told from what the device wrote.
    public static func seal(_ result: BenchResult) throws -> Data {
        var unsealed = result
        unsealed.seal = blank
        var data = try encode(unsealed)
        let mark = Data("\"seal\":\"\(blank)\"".utf8)
        guard let place = data.range(of: mark, options: .backwards) else {
            throw GoldenError("a result without a seal cannot be written")
        }
        data.replaceSubrange(place, with: Data("\"seal\":\"\(sha256(data))\"".utf8))
        return data
    }
}
