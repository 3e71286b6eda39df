// The part of SwiftUI that the app uses; result builders are reduced to what it takes to check its types.
@_exported import Foundation

// https://developer.apple.com/documentation/combine/observableobject and published
public protocol ObservableObject: AnyObject {}
@propertyWrapper public struct Published<Value> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Value
}

// https://developer.apple.com/documentation/swiftui/view
@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder @MainActor @preconcurrency var body: Body { get }
}
extension Never: View { public var body: Never { return fatalError() } }
public protocol Leaf: View where Body == Never {}
extension Leaf { public var body: Never { return fatalError() } }

// https://developer.apple.com/documentation/swiftui/viewbuilder
@resultBuilder public enum ViewBuilder {
    public static func buildExpression<V: View>(_ view: V) -> V { view }
    public static func buildBlock() -> EmptyView { EmptyView() }
    public static func buildBlock<each V: View>(_ views: repeat each V) -> TupleView<(repeat each V)> { TupleView() }
    public static func buildEither<A: View, B: View>(first: A) -> ConditionalView<A, B> { ConditionalView() }
    public static func buildEither<A: View, B: View>(second: B) -> ConditionalView<A, B> { ConditionalView() }
    public static func buildIf<V: View>(_ view: V?) -> OptionalView<V> { OptionalView() }
}
public struct EmptyView: Leaf {}
public struct TupleView<T>: Leaf {}
public struct ConditionalView<A, B>: Leaf {}
public struct OptionalView<V>: Leaf {}

// https://developer.apple.com/documentation/swiftui/app and scene
@MainActor @preconcurrency public protocol App {
    associatedtype Body: Scene
    @SceneBuilder @MainActor @preconcurrency var body: Body { get }
    @MainActor @preconcurrency init()
}
extension App { @MainActor @preconcurrency public static func main() {} }
@MainActor @preconcurrency public protocol Scene {}
@resultBuilder public enum SceneBuilder { public static func buildBlock<S: Scene>(_ scene: S) -> S { scene } }
public struct WindowGroup<Content: View>: Scene { public init(@ViewBuilder content: () -> Content) {} }

// https://developer.apple.com/documentation/swiftui/stateobject and observedobject
@propertyWrapper @MainActor @preconcurrency public struct StateObject<Object: ObservableObject> {
    public init(wrappedValue: @autoclosure @escaping () -> Object) { self.wrappedValue = wrappedValue() }
    public let wrappedValue: Object
}
@propertyWrapper @MainActor @preconcurrency public struct ObservedObject<Object: ObservableObject> {
    public init(wrappedValue: Object) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Object
}

// https://developer.apple.com/documentation/swiftui/text, font, color
public struct Font: Sendable { public static let caption = Font() }
public struct Color: Sendable {
    public static let accentColor = Color()
    public static let secondary = Color()
    public static let red = Color()
}
public struct Text: Leaf {
    public init<S: StringProtocol>(_ content: S) {}
    public func font(_ font: Font?) -> Text { self }
    public func foregroundColor(_ color: Color?) -> Text { self }
    public func monospacedDigit() -> Text { self }
}

// https://developer.apple.com/documentation/swiftui/button, progressview, sharelink
public struct Button<Label: View>: Leaf {
    public init<S: StringProtocol>(_ title: S, action: @escaping @MainActor () -> Void) where Label == Text {}
}
public struct ProgressView: Leaf {
    public init<V: BinaryFloatingPoint>(value: V?, total: V = 1.0) {}
}
public struct ShareLink: Leaf { public init(item: URL) {} }

// https://developer.apple.com/documentation/swiftui/list, section, foreach, navigationstack
public struct List<Content: View>: Leaf { public init(@ViewBuilder content: () -> Content) {} }
public struct Section<Content: View>: Leaf {
    public init<S: StringProtocol>(_ title: S, @ViewBuilder content: () -> Content) {}
}
public struct ForEach<Data: RandomAccessCollection, ID: Hashable, Content: View>: Leaf {
    public init(
        _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content
    ) {}
}
public struct NavigationStack<Root: View>: Leaf { public init(@ViewBuilder root: () -> Root) {} }

// https://developer.apple.com/documentation/swiftui/hstack, vstack, spacer, geometryreader
public struct HorizontalAlignment: Sendable { public static let leading = HorizontalAlignment() }
public struct HStack<Content: View>: Leaf { public init(@ViewBuilder content: () -> Content) {} }
public struct VStack<Content: View>: Leaf {
    public init(alignment: HorizontalAlignment, spacing: Double?, @ViewBuilder content: () -> Content) {}
}
public struct Spacer: Leaf { public init() {} }
public struct GeometryProxy { public var size: CGSize { .zero } }
public struct GeometryReader<Content: View>: Leaf {
    public init(@ViewBuilder content: @escaping (GeometryProxy) -> Content) {}
}
public struct RoundedRectangle: Leaf {
    public init(cornerRadius: Double) {}
    public func fill(_ color: Color) -> some View { self }
}

// https://developer.apple.com/documentation/swiftui/view-layout and accessibility modifiers
public struct AccessibilityChildBehavior: Sendable { public static let combine = AccessibilityChildBehavior() }
extension View {
    public func frame(width: Double? = nil, height: Double? = nil) -> some View { self }
    public func disabled(_ disabled: Bool) -> some View { self }
    public func navigationTitle<S: StringProtocol>(_ title: S) -> some View { self }
    public func task(_ action: @escaping @Sendable @MainActor () async -> Void) -> some View { self }
    public func accessibilityElement(children: AccessibilityChildBehavior) -> some View { self }
    public func font(_ font: Font?) -> some View { self }
}
