import IOLoop
import Synchronization

/// Runs the body for every item, at most `limit` at a time, on the caller's loop, and returns when all have returned.
///
/// An error does not keep the other items from being done; the first one is thrown at the end. The caller takes part in
/// the work, so that a single item costs no task.
public func concurrently<Item: Sendable>(
    _ items: [Item], limit: Int, _ body: @escaping @Sendable (Item) async throws(Errno) -> Void
) async throws(Errno) {
    if items.count == 1, let item = items.first { return try await body(item) }
    let work = SharedWork(items)
    // Child tasks of a group would leave the loop of a caller that is isolated to an actor.
    let loop = IOLoop.current ?? .main
    for _ in 1..<max(1, min(limit, items.count)) {
        work.helperWillStart()
        loop.spawn {
            await work.run(body)
            work.helperDidEnd()
        }
    }
    await work.run(body)
    if let error = await work.waitForHelpers() { throw error }
}

/// Runs two bodies at the same time, on the caller's loop, and returns what each has failed with when both have returned.
public func both(
    _ first: () async throws(Errno) -> Void, _ second: @escaping @Sendable () async throws(Errno) -> Void
) async -> (first: Errno?, second: Errno?) {
    let other = FirstResult()
    (IOLoop.current ?? .main).spawn { other.finish(with: await failure(of: second)) }
    let error = await failure(of: first)
    return (error, await other.value())
}

private func failure(of body: () async throws(Errno) -> Void) async -> Errno? {
    do throws(Errno) {
        try await body()
        return nil
    } catch {
        return error
    }
}

/// Items that several tasks take, one after the other.
private final class SharedWork<Item: Sendable>: Sendable {
    private struct State {
        var remaining: ArraySlice<Item>
        var helpers = 0
        var firstError: Errno?
        var waiter: UnsafeContinuation<Void, Never>?
    }

    private let state: Mutex<State>

    init(_ items: [Item]) { state = Mutex(State(remaining: items[...])) }

    func helperWillStart() { state.withLock { $0.helpers += 1 } }

    func helperDidEnd() {
        let waiter = state.withLock { state -> UnsafeContinuation<Void, Never>? in
            state.helpers -= 1
            guard state.helpers == 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Does items until there are none.
    func run(_ body: (Item) async throws(Errno) -> Void) async {
        while let item = state.withLock({ $0.remaining.popFirst() }) {
            do throws(Errno) {
                try await body(item)
            } catch {
                state.withLock { $0.firstError = $0.firstError ?? error }
            }
        }
    }

    /// Returns when no helper is left; the first error.
    func waitForHelpers() async -> Errno? {
        await withUnsafeContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.helpers > 0 { state.waiter = continuation }
                return state.helpers > 0
            }
            if !mustWait { continuation.resume() }
        }
        return state.withLock { $0.firstError }
    }
}
