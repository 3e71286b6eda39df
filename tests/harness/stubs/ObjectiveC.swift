// https://developer.apple.com/documentation/objectivec/autoreleasepool(invoking:)-86y4k
public func autoreleasepool<Result>(invoking body: () throws -> Result) rethrows -> Result { try body() }
