import IOLoop
import QMPProtocol
import Synchronization

/// The events that have arrived and that nobody has taken.
final class EventBuffer: Sendable {
    private struct State {
        var events: [Event] = []
        var isAtEnd = false
    }

    private let state = Mutex(State())
    private let changed = WaitQueue()

    /// Collects a sequence of events. On an I/O loop.
    init(_ events: AsyncStream<Event>) {
        Task(executorPreference: IOLoop.required) {
            for await event in events {
                self.state.withLock { $0.events.append(event) }
                self.changed.notifyAll()
            }
            self.state.withLock { $0.isAtEnd = true }
            self.changed.notifyAll()
        }
    }

    /// Waits for an event that matches, and takes it out; nil where none comes any more, or not within a minute.
    func take(_ matches: @escaping @Sendable (Event) -> Bool) async -> Event? {
        try? await withTimeout(.seconds(60)) {
            try await self.changed.waitCancellable(until: {
                self.state.withLock { $0.isAtEnd || $0.events.contains(where: matches) }
            })
        }
        return state.withLock { state in
            state.events.firstIndex(where: matches).map { state.events.remove(at: $0) }
        }
    }

    /// Waits for an event that matches, and takes it out with all that came before it.
    func takeUntil(_ matches: @escaping @Sendable (Event) -> Bool) async -> [Event] {
        try? await withTimeout(.seconds(60)) {
            try await self.changed.waitCancellable(until: {
                self.state.withLock { $0.isAtEnd || $0.events.contains(where: matches) }
            })
        }
        return state.withLock { state in
            guard let index = state.events.firstIndex(where: matches) else { return [] }
            defer { state.events.removeFirst(index + 1) }
            return Array(state.events[...index])
        }
    }
}
