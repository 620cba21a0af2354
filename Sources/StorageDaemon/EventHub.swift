import QMPSchema
import Synchronization

/// Passes the daemon's events on to whoever has subscribed: the monitors, tests.
final class EventHub: Sendable {
    private let sinks = Mutex<[@Sendable (QMPEvent) -> Void]>([])

    /// A hub without subscribers.
    init() {}

    /// From now on, calls `sink` for each event, from whatever thread it happens on.
    func subscribe(_ sink: @escaping @Sendable (QMPEvent) -> Void) {
        sinks.withLock { $0.append(sink) }
    }

    /// Passes an event on.
    func emit(_ event: QMPEvent) {
        for sink in sinks.withLock({ $0 }) { sink(event) }
    }
}
