import IOLoop
import JSON
import QAPI
import Synchronization

/// Commands that show how a server treats commands.
final class ToyCommands: QMPCommandSet {
    /// What `wait` waits for.
    let gate = AsyncSemaphore(0)
    /// How many commands run now, and the most that did at once.
    private let running = Mutex((now: 0, most: 0, total: 0))

    var mostRunning: Int { running.withLock { $0.most } }
    var total: Int { running.withLock { $0.total } }

    func command(named name: String) -> QMPCommandInfo? {
        switch name {
        case "echo", "wait", "fail", "big": QMPCommandInfo(name)
        case "open-gate": QMPCommandInfo(name, allowsOutOfBand: true)
        case "quiet": QMPCommandInfo(name, hasSuccessResponse: false)
        default: nil
        }
    }

    func execute(_ name: String, _ arguments: JSONObject) async throws(QMPError) -> JSON {
        running.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1), $0.total + 1) }
        defer { running.withLock { $0.now -= 1 } }
        switch name {
        case "wait":
            await gate.wait()
            return [:]
        case "open-gate":
            gate.signal()
            return [:]
        case "fail": throw QMPError(.deviceNotFound, "no such thing")
        case "big":
            guard case .integer(let size)? = arguments["size"] else { return "" }
            return .string(String(repeating: "x", count: Int(size)))
        default: return .object(arguments)
        }
    }
}
