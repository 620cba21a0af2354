import IOLoop
import JSON
import QMPProtocol

/// Limits how often events of some kinds are sent: once a second for events of the same kind about the same thing.
///
/// The first one is sent at once; of those within a second after it, the last one is sent when that second is over.
/// Spec: qmp-spec.rst, "Asynchronous events".
struct EventThrottle {
    /// The time between two events.
    static let interval = Duration.seconds(1)

    /// What to do about an event.
    enum Decision: Equatable {
        case send
        /// Nothing for now; the event waits in the throttle.
        case hold
    }

    /// What events must have in common to be limited together.
    private struct Key: Hashable {
        let name: String
        let subject: [JSON?]
    }

    private struct Window {
        var end: MonotonicTime
        var held: Event?
    }

    private var windows: [Key: Window] = [:]

    /// Takes an event that happens at `now`.
    mutating func add(_ event: Event, at now: MonotonicTime) -> Decision {
        guard let key = Self.key(of: event) else { return .send }
        if let window = windows[key], now < window.end || window.held != nil {
            windows[key] = Window(end: window.end, held: event)
            return .hold
        }
        // Windows that are over and hold nothing are of no more use.
        windows = windows.filter { now < $0.value.end || $0.value.held != nil }
        windows[key] = Window(end: now.advanced(by: Self.interval))
        return .send
    }

    /// When the next held event is due; nil where none is held.
    var nextDeadline: MonotonicTime? {
        windows.values.lazy.filter { $0.held != nil }.map(\.end).min()
    }

    /// The held events that are due, in the order in which they are; a new second begins for their kinds.
    mutating func takeDue(at now: MonotonicTime) -> [Event] {
        var due: [(MonotonicTime, Event)] = []
        for (key, window) in windows where window.end <= now {
            guard let event = window.held else { continue }
            due.append((window.end, event))
            windows[key] = Window(end: now.advanced(by: Self.interval))
        }
        return due.sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// What is limited together with an event, nil for one that is not limited.
    private static func key(of event: Event) -> Key? {
        let members: [String]
        switch event.name {
        case "BLOCK_IO_ERROR" where event.data?["action"] != "stop": members = ["qom-path", "device", "node-name"]
        case "QUORUM_REPORT_BAD": members = ["node-name"]
        case "QUORUM_FAILURE": members = ["reference"]
        case "VSERPORT_CHANGE": members = ["id"]
        default: return nil
        }
        return Key(name: event.name, subject: members.map { event.data?[$0] })
    }
}
