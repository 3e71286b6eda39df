#if canImport(CoreML)
    import BenchCore
    import CoreML
    import CoreVideo
    import Foundation

    /// One input of a model: a buffer that lives as long as the model, and the feature value around it.
    final class InputBuffer {
        let spec: TensorPlan
        let value: MLFeatureValue
        private let pixels: CVPixelBuffer?
        private let array: MLMultiArray?

        init(_ spec: TensorPlan) throws {
            self.spec = spec
            if spec.kind == .image {
                let buffer = try imageBuffer(for: spec)
                pixels = buffer
                array = nil
                value = MLFeatureValue(pixelBuffer: buffer)
            } else {
                let made = try multiArray(for: spec)
                pixels = nil
                array = made
                value = MLFeatureValue(multiArray: made)
            }
        }

        /// Copies one golden sample in.
        func fill(with values: ArraySlice<Float>) throws {
            if let pixels { try write(values, into: pixels) }
            if let array { try write(values, into: array) }
        }

        private func write(_ values: ArraySlice<Float>, into array: MLMultiArray) throws {
            let width = try scalarWidth(array.dataType)
            array.withUnsafeMutableBytes { bytes, strides in
                let extents = array.shape.map(\.intValue)
                forEachOffset(extents: extents, strides: strides) { index, offset in
                    let scalar = values[values.startIndex + index]
                    let place = offset * width
                    switch array.dataType {
                    case .float16: bytes.storeBytes(of: Half.bits(scalar), toByteOffset: place, as: UInt16.self)
                    case .int32: bytes.storeBytes(of: Int32(scalar), toByteOffset: place, as: Int32.self)
                    case .double: bytes.storeBytes(of: Double(scalar), toByteOffset: place, as: Double.self)
                    default: bytes.storeBytes(of: scalar, toByteOffset: place, as: Float.self)
                    }
                }
            }
        }

        private func write(_ values: ArraySlice<Float>, into pixels: CVPixelBuffer) throws {
            guard CVPixelBufferLockBaseAddress(pixels, []) == kCVReturnSuccess,
                let base = CVPixelBufferGetBaseAddress(pixels)
            else { throw GoldenError("the pixel buffer of \(spec.name) cannot be locked") }
            defer { CVPixelBufferUnlockBaseAddress(pixels, []) }
            let (height, width) = (CVPixelBufferGetHeight(pixels), CVPixelBufferGetWidth(pixels))
            let stride = CVPixelBufferGetBytesPerRow(pixels)
            let planes = values.count / (height * width)
            let byte = { (plane: Int, y: Int, x: Int) -> UInt8 in
                let value = values[values.startIndex + (plane * height + y) * width + x]
                return UInt8(min(max(value.rounded(), 0), 255))
            }
            for y in 0..<height {
                for x in 0..<width {
                    if planes == 1 {
                        base.storeBytes(of: byte(0, y, x), toByteOffset: y * stride + x, as: UInt8.self)
                        continue
                    }
                    // Golden planes are red, green, blue; the buffer is blue, green, red, alpha.
                    for channel in 0..<3 {
                        base.storeBytes(
                            of: byte(2 - channel, y, x), toByteOffset: y * stride + 4 * x + channel, as: UInt8.self)
                    }
                    base.storeBytes(of: 255, toByteOffset: y * stride + 4 * x + 3, as: UInt8.self)
                }
            }
        }
    }

    /// A multiarray for `spec`; in half precision one on an IOSurface, which the Neural Engine reads and writes without
    /// a copy.
    func multiArray(for spec: TensorPlan) throws -> MLMultiArray {
        let shape = spec.shape.map { NSNumber(value: $0) }
        switch spec.dtype {
        case "float16":
            let width = spec.shape.last ?? 1
            let surface = try? pixelBuffer(
                width: width, height: spec.count / max(width, 1), format: kCVPixelFormatType_OneComponent16Half)
            // A surface may be too wide for the system; the copy that this saves is then part of every prediction.
            guard let surface else { return try MLMultiArray(shape: shape, dataType: .float16) }
            return MLMultiArray(pixelBuffer: surface, shape: shape)
        case "float32": return try MLMultiArray(shape: shape, dataType: .float32)
        case "int32": return try MLMultiArray(shape: shape, dataType: .int32)
        default: throw GoldenError("\(spec.name) has dtype \(spec.dtype), which Core ML does not take")
        }
    }

    private func imageBuffer(for spec: TensorPlan) throws -> CVPixelBuffer {
        guard spec.shape.count == 4, spec.shape[0] == 1, [1, 3].contains(spec.shape[1]) else {
            throw GoldenError("image \(spec.name) needs shape (1, 3, height, width) or (1, 1, height, width)")
        }
        let format = spec.shape[1] == 3 ? kCVPixelFormatType_32BGRA : kCVPixelFormatType_OneComponent8
        return try pixelBuffer(width: spec.shape[3], height: spec.shape[2], format: format)
    }

    private func pixelBuffer(width: Int, height: Int, format: OSType) throws -> CVPixelBuffer {
        // An empty dictionary of IOSurface properties is how one asks for an IOSurface.
        let attributes = [kCVPixelBufferIOSurfacePropertiesKey as String: [String: Any]()] as CFDictionary
        var buffer: CVPixelBuffer?
        let status = CVPixelBufferCreate(kCFAllocatorDefault, width, height, format, attributes, &buffer)
        guard status == kCVReturnSuccess, let buffer else {
            throw GoldenError("a pixel buffer of \(width) x \(height) cannot be made (\(status))")
        }
        return buffer
    }

    /// The scalars of `array` in row-major order.
    func scalars(of array: MLMultiArray) throws -> [Float] {
        let width = try scalarWidth(array.dataType)
        var values = [Float](repeating: 0, count: array.count)
        let (extents, strides) = (array.shape.map(\.intValue), array.strides.map(\.intValue))
        array.withUnsafeBytes { bytes in
            forEachOffset(extents: extents, strides: strides) { index, offset in
                let place = offset * width
                switch array.dataType {
                case .float16: values[index] = Half.float(bytes.load(fromByteOffset: place, as: UInt16.self))
                case .int32: values[index] = Float(bytes.load(fromByteOffset: place, as: Int32.self))
                case .double: values[index] = Float(bytes.load(fromByteOffset: place, as: Double.self))
                default: values[index] = bytes.load(fromByteOffset: place, as: Float.self)
                }
            }
        }
        return values
    }

    private func scalarWidth(_ type: MLMultiArrayDataType) throws -> Int {
        switch type {
        case .float16: return 2
        case .float32, .int32: return 4
        case .double: return 8
        default: throw GoldenError("a multiarray of type \(type.rawValue) is not supported")
        }
    }
#endif
