/// Storage of a struct's member that may hold the same struct again.
@propertyWrapper
public indirect enum Indirect<Value: Sendable & Hashable>: Sendable, Hashable {
    /// The value, on the heap.
    case boxed(Value)

    /// Boxes a value.
    public init(wrappedValue: Value) { self = .boxed(wrappedValue) }

    /// The value.
    public var wrappedValue: Value {
        get {
            switch self {
            case .boxed(let value): value
            }
        }
        set { self = .boxed(newValue) }
    }
}
