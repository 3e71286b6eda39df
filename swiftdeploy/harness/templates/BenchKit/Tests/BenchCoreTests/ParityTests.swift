import BenchCore
import Foundation
import XCTest

final class ParityTests: XCTestCase {
    private let reference: [Float] = [3, -1, 2.9, 0, 4, -5]

    func testEqualAnswersHaveNoFinitePSNR() {
        let sample = compare(reference, to: reference[...], scores: true)
        XCTAssertNil(psnr(sample, count: 6))
        XCTAssertEqual(judge(output: "y", count: 6, samples: [sample], gateDb: 50).verdict, .pass)
    }

    func testPSNRFollowsItsDefinition() throws {
        var answer = reference
        answer[1] += 0.5
        let sample = compare(answer, to: reference[...], scores: false)
        XCTAssertEqual(sample.maxAbsReference, 5)
        XCTAssertEqual(sample.maxAbs, 0.5)
        let rmse = (0.25 / 6.0).squareRoot()
        XCTAssertEqual(try XCTUnwrap(psnr(sample, count: 6)), 20 * log10(5 / rmse), accuracy: 1e-12)
    }

    func testGateAndWarningBand() {
        func verdict(_ squaredError: Double) -> OutputParity.Verdict {
            let sample = SampleParity(maxAbsReference: 1, squaredError: squaredError, maxAbs: 0, nonFinite: 0)
            return judge(output: "y", count: 1, samples: [sample], gateDb: 50).verdict
        }
        XCTAssertEqual(verdict(1e-5), .pass)
        XCTAssertEqual(verdict(1.1e-5), .warn)
        XCTAssertEqual(verdict(1e-4), .warn)
        XCTAssertEqual(verdict(1.1e-4), .fail)
    }

    func testTheWorstSampleDecides() {
        let good = SampleParity(maxAbsReference: 1, squaredError: 0, maxAbs: 0, nonFinite: 0)
        let bad = SampleParity(maxAbsReference: 1, squaredError: 1, maxAbs: 1, nonFinite: 0)
        XCTAssertEqual(judge(output: "y", count: 1, samples: [good, bad, good], gateDb: 50).verdict, .fail)
        XCTAssertEqual(judge(output: "y", count: 1, samples: [], gateDb: 50).verdict, .fail)
    }

    func testNonFiniteAnswersFailWhateverTheRest() {
        for value in [Float.nan, .infinity, -.infinity] {
            var answer = reference
            answer[3] = value
            let sample = compare(answer, to: reference[...], scores: true)
            XCTAssertEqual(sample.nonFinite, 1)
            XCTAssertEqual(judge(output: "y", count: 6, samples: [sample], gateDb: 50).verdict, .fail)
        }
    }

    func testAFlipCountsOnlyWhereTheMarginExceedsTheError() {
        let near: [Float] = [1.0, 1.01, 0, 0, 0, 0]
        let noisy: [Float] = [1.02, 1.0, 0, 0, 0, 0]
        XCTAssertEqual(compare(noisy, to: near[...], scores: true).top1, true)
        let far: [Float] = [1.0, 2.0, 0, 0, 0, 0]
        let swapped: [Float] = [1.6, 1.5, 0, 0, 0, 0]
        XCTAssertEqual(compare(swapped, to: far[...], scores: true).top1, false)
        XCTAssertEqual(compare(swapped, to: far[...], scores: true).top5, true)
    }

    func testNoRanksWithoutScores() {
        XCTAssertNil(compare(reference, to: reference[...], scores: false).top1)
        XCTAssertNil(compare([1], to: [1][...], scores: true).top1)
    }
}
