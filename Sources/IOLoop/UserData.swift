/// What travels with an operation through the kernel, told apart by the low bits: the lowest three are clear in pointers.
enum UserData {
    /// The task that waits for an operation that is never cancelled.
    case continuation(UnsafeContinuation<Int32, Never>)
    /// The same where the operation waits for a peer rather than for storage.
    case peerContinuation(UnsafeContinuation<Int32, Never>)
    /// A slot with its generation, of an operation that can be cancelled.
    case slot
    /// The loop's own read of its eventfd.
    case wakeUp
    /// A completion that nobody waits for.
    case ignored

    static let slotTag: UInt64 = 2
    static let peerTag: UInt64 = 4
    static let wakeUpValue: UInt64 = 1
    static let ignoredValue: UInt64 = 3

    @inline(__always)
    init(_ value: UInt64) {
        switch value & 3 {
        case 0:
            let continuation = unsafeBitCast(
                UInt(value & ~UserData.peerTag), to: UnsafeContinuation<Int32, Never>.self)
            self = value & UserData.peerTag == 0 ? .continuation(continuation) : .peerContinuation(continuation)
        case UserData.slotTag: self = .slot
        default: self = value == UserData.wakeUpValue ? .wakeUp : .ignored
        }
    }

    @inline(__always)
    static func value(of continuation: UnsafeContinuation<Int32, Never>) -> UInt64 {
        UInt64(unsafeBitCast(continuation, to: UInt.self))
    }
}
