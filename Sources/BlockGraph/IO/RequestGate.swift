import Synchronization

/// The door through which the requests of one source pass: it counts those inside, and holds the others back while it is
/// closed for a drained section.
///
/// Who passes an open gate changes one atomic number, and takes no lock.
public final class RequestGate: Sendable {
    private struct State {
        var closers = 0
        var held: [UnsafeContinuation<Void, Never>] = []
        var emptied: [UnsafeContinuation<Void, Never>] = []
    }

    /// The number inside, with two flags above it.
    private let word = Atomic<Int>(0)
    /// Somebody has closed the gate. Changed under the lock only, together with `closers`.
    private static let closed = 1 << 62
    /// Somebody waits for the last to leave. Changed under the lock only, together with `emptied`.
    private static let awaited = 1 << 61
    private static let number = awaited - 1

    private let state = Mutex(State())

    /// An open gate with nobody inside.
    public init() {}

    /// Goes in; waits while the gate is closed. Every `enter` is followed by one `leave`.
    public func enter() async {
        while !tryEnter() {
            await withUnsafeContinuation { continuation in
                let isHeld = state.withLock { state in
                    if state.closers > 0 { state.held.append(continuation) }
                    return state.closers > 0
                }
                if !isHeld { continuation.resume() }
            }
        }
    }

    /// Goes in where the gate is open; false where it is closed.
    public func tryEnter() -> Bool {
        var seen = word.load(ordering: .relaxed)
        while seen & Self.closed == 0 {
            let (exchanged, original) = word.weakCompareExchange(
                expected: seen, desired: seen + 1, successOrdering: .acquiring, failureOrdering: .relaxed)
            if exchanged { return true }
            seen = original
        }
        return false
    }

    /// Goes out.
    public func leave() {
        let left = word.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
        if left & Self.number == 0, left & Self.awaited != 0 { tellOfEmptiness() }
    }

    /// Wakes those who wait for the last to leave, unless others have come in since.
    private func tellOfEmptiness() {
        let emptied = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            guard word.load(ordering: .acquiring) & Self.number == 0 else { return [] }
            word.bitwiseAnd(~Self.awaited, ordering: .relaxed)
            defer { state.emptied = [] }
            return state.emptied
        }
        for waiter in emptied { waiter.resume() }
    }

    /// Closes the gate to newcomers. It opens again after as many `open` as `close`.
    public func close() {
        state.withLock { state in
            state.closers += 1
            word.bitwiseOr(Self.closed, ordering: .acquiringAndReleasing)
        }
    }

    /// Takes one `close` back.
    public func open() {
        let held = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.closers -= 1
            guard state.closers == 0 else { return [] }
            word.bitwiseAnd(~Self.closed, ordering: .releasing)
            defer { state.held = [] }
            return state.held
        }
        for waiter in held { waiter.resume() }
    }

    /// Returns when nobody is inside.
    public func waitUntilEmpty() async {
        await withUnsafeContinuation { continuation in
            let mustWait = state.withLock { state in
                // Who leaves from now on sees the flag, and comes here.
                let inside = word.bitwiseOr(Self.awaited, ordering: .acquiringAndReleasing).newValue & Self.number
                if inside > 0 {
                    state.emptied.append(continuation)
                } else if state.emptied.isEmpty {
                    word.bitwiseAnd(~Self.awaited, ordering: .relaxed)
                }
                return inside > 0
            }
            if !mustWait { continuation.resume() }
        }
    }

    /// The number of requests inside.
    public var countInside: Int { word.load(ordering: .acquiring) & Self.number }
}
