// Core Foundation's names, which Linux' Foundation does not export.
// https://developer.apple.com/documentation/corefoundation/cfstring, cfdictionary and cfallocator
public typealias CFString = String
public typealias CFDictionary = [String: Any]
public final class CFAllocator: Sendable {}
public var kCFAllocatorDefault: CFAllocator! { nil }
public typealias OSType = UInt32

// https://developer.apple.com/documentation/corevideo/cvpixelbuffer
public class CVBuffer {}
public typealias CVPixelBuffer = CVBuffer
public typealias CVReturn = Int32
public var kCVReturnSuccess: CVReturn { 0 }
// https://developer.apple.com/documentation/corevideo/kcvpixelbufferiosurfacepropertieskey
public let kCVPixelBufferIOSurfacePropertiesKey: CFString = ""
// https://developer.apple.com/documentation/corevideo/kcvpixelformattype_onecomponent16half
public var kCVPixelFormatType_OneComponent16Half: OSType { 0 }
public var kCVPixelFormatType_OneComponent8: OSType { 0 }
public var kCVPixelFormatType_32BGRA: OSType { 0 }

// https://developer.apple.com/documentation/corevideo/cvpixelbufferlockflags
public struct CVPixelBufferLockFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

// https://developer.apple.com/documentation/corevideo/cvpixelbuffercreate(_:_:_:_:_:_:)
public func CVPixelBufferCreate(
    _ allocator: CFAllocator?, _ width: Int, _ height: Int, _ format: OSType, _ attributes: CFDictionary?,
    _ out: UnsafeMutablePointer<CVPixelBuffer?>
) -> CVReturn { -1 }
// https://developer.apple.com/documentation/corevideo/cvpixelbufferlockbaseaddress(_:_:) and its neighbours
public func CVPixelBufferLockBaseAddress(_ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags) -> CVReturn { -1 }
@discardableResult public func CVPixelBufferUnlockBaseAddress(
    _ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags
) -> CVReturn { -1 }
public func CVPixelBufferGetBaseAddress(_ buffer: CVPixelBuffer) -> UnsafeMutableRawPointer? { nil }
public func CVPixelBufferGetBytesPerRow(_ buffer: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetHeight(_ buffer: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetWidth(_ buffer: CVPixelBuffer) -> Int { 0 }
