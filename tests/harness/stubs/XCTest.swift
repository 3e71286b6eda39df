// Apple's XCTest, which has metrics and attachments that Linux' lacks.
import Foundation

// https://developer.apple.com/documentation/xctest/xctestcase
@MainActor open class XCTestCase: NSObject {
    // https://developer.apple.com/documentation/xctest/xctestcase/expectation(description:)
    open nonisolated func expectation(description: String) -> XCTestExpectation { XCTestExpectation() }
    // https://developer.apple.com/documentation/xctest/xctestcase/wait(for:timeout:)
    open nonisolated func wait(for expectations: [XCTestExpectation], timeout: TimeInterval) {}
    // https://developer.apple.com/documentation/xctest/xctactivity/add(_:)
    open nonisolated func add(_ attachment: XCTAttachment) {}
    // https://developer.apple.com/documentation/xctest/xctestcase/measure(metrics:options:block:)
    open nonisolated func measure(metrics: [any XCTMetric], options: XCTMeasureOptions, block: () -> Void) {}
}

// https://developer.apple.com/documentation/xctest/xctestexpectation
open class XCTestExpectation: NSObject, @unchecked Sendable { open func fulfill() {} }

// https://developer.apple.com/documentation/xctest/xctmetric and xctclockmetric
public protocol XCTMetric {}
open class XCTClockMetric: NSObject, XCTMetric {}

// https://developer.apple.com/documentation/xctest/xctmeasureoptions
open class XCTMeasureOptions: NSObject { open var iterationCount = 5 }

// https://developer.apple.com/documentation/xctest/xctattachment
open class XCTAttachment: NSObject {
    // https://developer.apple.com/documentation/xctest/xctattachment/lifetime-swift.enum
    public enum Lifetime: Int, Sendable { case keepAlways, deleteOnSuccess }
    // https://developer.apple.com/documentation/xctest/xctattachment/init(data:uniformtypeidentifier:)
    public convenience init(data: Data, uniformTypeIdentifier: String) { self.init() }
    open var name: String?
    open var lifetime: Lifetime = .deleteOnSuccess
}

// https://developer.apple.com/documentation/xctest/xctunwrap(_:_:file:line:) and the other assertions
public func XCTUnwrap<T>(_ value: @autoclosure () throws -> T?, _ message: String = "") throws -> T {
    guard let value = try value() else { throw CancellationError() }
    return value
}
public func XCTAssertEqual<T: Equatable>(
    _ a: @autoclosure () throws -> T, _ b: @autoclosure () throws -> T, _ message: @autoclosure () -> String = ""
) {}
public func XCTAssertNotEqual<T: Equatable>(
    _ a: @autoclosure () throws -> T, _ b: @autoclosure () throws -> T, _ message: @autoclosure () -> String = ""
) {}
public func XCTAssertTrue(_ a: @autoclosure () throws -> Bool, _ message: @autoclosure () -> String = "") {}
public func XCTFail(_ message: String = "") {}
