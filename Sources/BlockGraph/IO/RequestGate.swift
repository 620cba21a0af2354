import Synchronization

/// The door through which the requests of one source pass: it counts those inside, and holds the others back while it is
/// closed for a drained section.
public final class RequestGate: Sendable {
    fileprivate struct State {
        var inside = 0
        var closers = 0
        var held: [UnsafeContinuation<Void, Never>] = []
        var emptied: [UnsafeContinuation<Void, Never>] = []
    }

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
    public func tryEnter() -> Bool { state.withLock { $0.tryEnter() } }

    /// Goes out.
    public func leave() {
        let emptied = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.inside -= 1
            guard state.inside == 0, !state.emptied.isEmpty else { return [] }
            defer { state.emptied = [] }
            return state.emptied
        }
        for waiter in emptied { waiter.resume() }
    }

    /// Closes the gate to newcomers. It opens again after as many `open` as `close`.
    public func close() {
        state.withLock { $0.closers += 1 }
    }

    /// Takes one `close` back.
    public func open() {
        let held = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.closers -= 1
            guard state.closers == 0 else { return [] }
            defer { state.held = [] }
            return state.held
        }
        for waiter in held { waiter.resume() }
    }

    /// Returns when nobody is inside.
    public func waitUntilEmpty() async {
        await withUnsafeContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.inside > 0 { state.emptied.append(continuation) }
                return state.inside > 0
            }
            if !mustWait { continuation.resume() }
        }
    }

    /// The number of requests inside.
    public var countInside: Int { state.withLock { $0.inside } }
}

extension RequestGate.State {
    fileprivate mutating func tryEnter() -> Bool {
        guard closers == 0 else { return false }
        inside += 1
        return true
    }
}
