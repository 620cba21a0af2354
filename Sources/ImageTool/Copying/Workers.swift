import IOLoop
import Synchronization

/// Tasks that run on several loops, and whose end can be waited for.
final class WorkerGroup: Sendable {
    private let running = Mutex(0)
    private let changes = WaitQueue()

    /// Starts a task on a loop.
    func start(on loop: IOLoop, _ body: @escaping @Sendable () async -> Void) {
        running.withLock { $0 += 1 }
        loop.spawn { [self] in
            await body()
            running.withLock { $0 -= 1 }
            changes.notifyAll()
        }
    }

    /// Returns when all tasks have ended.
    func wait() async {
        await changes.wait(until: { running.withLock { $0 == 0 } })
    }
}

/// The main loop and loops on threads of their own.
@GraphActor
struct Loops {
    private let added: [IOLoop]

    /// The main loop and up to `count` - 1 others: as many as the system gives.
    init(count: Int) {
        var added: [IOLoop] = []
        while added.count + 1 < count, let loop = try? IOLoop(name: "worker \(added.count + 1)") {
            loop.start()
            added.append(loop)
        }
        self.added = added
    }

    /// A loop for the worker of an index.
    func loop(_ index: Int) -> IOLoop {
        let place = index % (added.count + 1)
        return place == 0 ? IOLoop.main : added[place - 1]
    }

    /// Ends the threads; their tasks have ended.
    func stop() {
        for loop in added { loop.stop() }
        for loop in added { loop.join() }
    }
}

/// Lets numbered tasks go on in the order of their numbers, from 0.
final class TurnList: Sendable {
    private struct State {
        var next = 0
        var isOver = false
        var waiting: [Int: UnsafeContinuation<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    /// Returns when all lower numbers have had their turn, which lets the following number go on.
    func take(_ number: Int) async {
        await withUnsafeContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.isOver || state.next >= number { return false }
                state.waiting[number] = continuation
                return true
            }
            if !mustWait { continuation.resume() }
        }
        let following = state.withLock { state in
            state.next = max(state.next, number + 1)
            return state.waiting.removeValue(forKey: state.next)
        }
        following?.resume()
    }

    /// Nobody waits any more.
    func giveUp() {
        let waiting = state.withLock { state in
            state.isOver = true
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Keeps the bytes of each second within a limit.
final class RateLimiter: Sendable {
    private let bytesPerSecond: Int64
    /// When the bytes that were let through so far are due, in nanoseconds.
    private let due = Mutex<Int>(0)

    /// - Parameter bytesPerSecond: 0 for no limit.
    init(bytesPerSecond: Int64) { self.bytesPerSecond = bytesPerSecond }

    /// Returns when so many bytes more may be transferred.
    func wait(for count: Int64) async {
        guard bytesPerSecond > 0 else { return }
        let cost = Int(Double(count) / Double(bytesPerSecond) * 1e9)
        let now = MonotonicTime.now.nanoseconds
        let start = due.withLock { due in
            let start = max(due, now)
            due = start + cost
            return start
        }
        guard start > now else { return }
        try? await IOLoop.sleep(for: .nanoseconds(start - now))  // Fails only where the task is cancelled.
    }
}
