/// Visits every element of a strided array in row-major order: its index, and its offset in scalars.
///
/// Rows of an IOSurface are padded, so an output's strides are seldom what its shape suggests.
public func forEachOffset(extents: [Int], strides: [Int], _ body: (Int, Int) -> Void) {
    var position = [Int](repeating: 0, count: extents.count)
    var offset = 0
    for index in 0..<extents.reduce(1, *) {
        body(index, offset)
        var axis = extents.count - 1
        while axis >= 0 {
            position[axis] += 1
            offset += strides[axis]
            if position[axis] < extents[axis] { break }
            offset -= extents[axis] * strides[axis]
            position[axis] = 0
            axis -= 1
        }
    }
}
