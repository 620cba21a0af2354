import IOLoop
import JSON
import QAPI
import QMPSchema

/// An `iothread` object: a thread with an I/O loop, on which exports run.
///
/// The loop has no pool of helper threads, so that the settings of those are kept and change nothing; nor does `poll-weight`.
@GraphActor
final class IOThread: UserObject {
    static let typeName = "iothread"
    static let parentTypeName = "event-loop-base"
    static let properties = [
        "thread-pool-min", "aio-max-batch", "thread-pool-max", "poll-max-ns", "poll-weight", "poll-grow", "poll-shrink",
    ].map { (name: $0, type: "int") }

    private static let defaults: [String: Int64] = [
        "poll-max-ns": 32768, "poll-grow": 2, "poll-shrink": 2, "thread-pool-max": 64,
    ]

    /// The loop.
    nonisolated let loop: IOLoop
    private var values: [String: Int64] = [:]

    /// Starts the thread. Errors: a setting is out of range; the system has no ring for it.
    init(id: String, _ options: IothreadProperties) throws(QMPError) {
        do {
            loop = try IOLoop(name: id)
        } catch {
            throw QMPError("Could not create the I/O thread '\(id)': \(error)")
        }
        for (name, value) in options.encodeMembers().members { try setValue(value, of: name) }
        setPolling()
        loop.start()
    }

    func value(of property: String) throws(QMPError) -> JSON {
        .integer(values[property] ?? Self.defaults[property] ?? 0)
    }

    func setValue(_ value: JSON, of property: String) throws(QMPError) {
        guard case .integer(let number) = value else {
            throw QMPError("Invalid parameter type for '\(property)', expected: integer")
        }
        guard number >= 0 else {
            throw QMPError("\(property) value must be in range [0, \(Int64.max)]")
        }
        values[property] = number
        setPolling()
    }

    private func setPolling() {
        func number(_ name: String) -> Int { Int(values[name] ?? Self.defaults[name] ?? 0) }
        loop.setPolling(
            limit: number("poll-max-ns"), growth: number("poll-grow"), shrinkage: number("poll-shrink"))
    }

    /// Exports on the thread keep its loop until they go.
    func prepareRemoval(id: String) throws(QMPError) {}

    func didRemove() {}
}
