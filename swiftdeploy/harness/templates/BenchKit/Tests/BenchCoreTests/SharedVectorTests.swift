import BenchCore
import Foundation
import XCTest

/// The figures that Python computed, to the last bit.
final class SharedVectorTests: XCTestCase {
    private struct Vectors: Decodable {
        struct Stream: Decodable {
            var seed: UInt64
            var values: [UInt64]
        }
        struct Indices: Decodable {
            var seed: UInt64
            var below: Int
            var values: [Int]
        }
        struct Orders: Decodable {
            var seed: UInt64
            var length: Int
            var orders: [[Int]]
        }
        struct Case: Decodable {
            var name: String
            var rounds: [[UInt64]]
            var seed: UInt64
            var resamples: Int
            var confidencePercent: Int
            var expected: Statistics
        }
        struct Tree: Decodable {
            var files: [[String]]
            var digest: String
        }
        struct NamedTensor: Decodable {
            var name: String
            var shape: [Int]
            var values: [Double]
        }
        struct Golden: Decodable {
            var base64: String
            var tensors: [NamedTensor]
        }
        var splitmix: Stream
        var indices: Indices
        var schedule: Orders
        var statistics: [Case]
        var half: [[UInt32]]
        var sha256: [[String]]
        var tree: Tree
        var safetensors: Golden
    }

    private func vectors() throws -> Vectors {
        let url = try XCTUnwrap(Bundle.module.url(forResource: "Fixtures/vectors", withExtension: "json"))
        return try BenchJSON.decode(Vectors.self, from: Data(contentsOf: url))
    }

    func testGeneratorDrawsThePublishedNumbers() throws {
        let stream = try vectors().splitmix
        var generator = SplitMix64(seed: stream.seed)
        XCTAssertEqual(stream.values.map { _ in generator.next() }, stream.values)
    }

    func testIndices() throws {
        let wanted = try vectors().indices
        var generator = SplitMix64(seed: wanted.seed)
        XCTAssertEqual(wanted.values.map { _ in generator.index(below: wanted.below) }, wanted.values)
    }

    func testScheduleFollowsFromTheSeed() throws {
        let wanted = try vectors().schedule
        let units = ComputeUnit.allCases
        let models = (0..<wanted.length / units.count).map { model(named: "m\($0)") }
        let plan = Plan(seed: wanted.seed, rounds: wanted.orders.count, computeUnits: units, models: models)
        XCTAssertEqual(plan.schedule(), wanted.orders)
    }

    func testStatisticsToTheLastBit() throws {
        for wanted in try vectors().statistics {
            let bootstrap = BootstrapPlan(
                resamples: wanted.resamples, confidencePercent: wanted.confidencePercent)
            let found = summarize(rounds: wanted.rounds, bootstrap: bootstrap, seed: wanted.seed)
            XCTAssertEqual(found, wanted.expected, wanted.name)
        }
    }

    func testHalvesRoundToNearestEven() throws {
        for pair in try vectors().half {
            XCTAssertEqual(UInt32(Half.bits(Float(bitPattern: pair[0]))), pair[1])
        }
    }

    func testEveryHalfSurvivesAFloat() {
        for bits in UInt16.min...UInt16.max {
            let value = Half.float(bits)
            XCTAssertTrue(value.isNaN || Half.bits(value) == bits, "\(bits)")
        }
        XCTAssertTrue(Half.float(Half.bits(.nan)).isNaN)
    }

    func testDigests() throws {
        for pair in try vectors().sha256 {
            XCTAssertEqual(sha256(Data(pair[0].utf8)), pair[1])
        }
    }

    func testTreeDigest() throws {
        let tree = try vectors().tree
        try withTemporaryFolder { folder in
            for file in tree.files {
                let url = folder.appendingPathComponent(file[0])
                try FileManager.default.createDirectory(
                    at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(file[1].utf8).write(to: url)
            }
            XCTAssertEqual(try treeDigest(folder), tree.digest)
        }
    }

    func testSafetensors() throws {
        let golden = try vectors().safetensors
        let data = try XCTUnwrap(Data(base64Encoded: golden.base64))
        let found = try Safetensors.parse(data)
        XCTAssertEqual(found.count, golden.tensors.count)
        for wanted in golden.tensors {
            XCTAssertEqual(found[wanted.name]?.shape, wanted.shape, wanted.name)
            XCTAssertEqual(found[wanted.name]?.values.map(Double.init), wanted.values, wanted.name)
        }
    }

    func testDamagedSafetensorsAreRefused() throws {
        let data = try XCTUnwrap(Data(base64Encoded: vectors().safetensors.base64))
        for length in stride(from: 0, to: data.count, by: 3) {
            XCTAssertThrowsError(try Safetensors.parse(data.prefix(length)), "\(length)")
        }
        for header in [
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}"#,
            #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
            #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}}"#,
            #"{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#,
        ] {
            let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
            let file = length + Data(header.utf8) + Data(count: 8)
            XCTAssertThrowsError(try Safetensors.parse(file)) { XCTAssertTrue($0 is GoldenError) }
        }
    }
}
