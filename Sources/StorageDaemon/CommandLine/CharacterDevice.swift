import BlockGraph
import IOLoop
import QAPI
import QMPServer

/// A character device of the command line: a place where the client of a monitor comes from.
struct CharacterDevice {
    /// Where the bytes go.
    enum Backend {
        /// A socket, or the standard streams.
        case transport(MonitorTransport)
        /// Nowhere: a monitor on it has no client.
        case null
    }

    let id: String
    let backend: Backend
    /// Whether start-up waits for the first client.
    let waitsForClient: Bool
    /// Whether it takes the standard streams, which only one can.
    let takesStandardStreams: Bool

    /// Opens the device that an option's value describes.
    static func open(_ text: String) async throws(QMPError) -> CharacterDevice {
        let options = try CharacterDeviceOptions(text)
        guard let id = options["id"] else { throw QMPError("chardev: no id specified") }
        guard Identifier.isWellFormed(id) else { throw Identifier.malformed }
        guard let backend = options["backend"] else { throw QMPError("chardev: \"\(id)\" missing backend") }
        switch backend {
        case "null": return CharacterDevice(id: id, backend: .null, waitsForClient: false, takesStandardStreams: false)
        case "stdio":
            return CharacterDevice(
                id: id, backend: .transport(.standardStreams), waitsForClient: false, takesStandardStreams: true)
        case "socket":
            let isServer = try options.flag("server") ?? false
            let waits = try options.flag("wait") ?? isServer
            return CharacterDevice(
                id: id, backend: .transport(try await openSocket(options, isServer: isServer)),
                waitsForClient: isServer && waits, takesStandardStreams: false)
        default: throw QMPError("'\(backend)' is not a valid char driver name")
        }
    }

    private static func openSocket(
        _ options: CharacterDeviceOptions, isServer: Bool
    ) async throws(QMPError) -> MonitorTransport {
        if let path = options["path"] {
            let isAbstract = try options.flag("abstract") ?? false
            let address: SocketAddress = isAbstract ? .abstract(name: path) : .unix(path: path)
            return try await open([address], name: path, isServer: isServer, listenName: " to \(path)")
        }
        if let host = options["host"] {
            guard let port = options["port"] else { throw QMPError("chardev: socket: no port given") }
            let addresses: [SocketAddress]
            do {
                addresses = try await SocketAddress.resolve(host: host, service: port, forListening: isServer)
            } catch {
                throw QMPError("address resolution failed for \(host):\(port): \(error)")
            }
            return try await open(addresses, name: "\(host):\(port)", isServer: isServer, listenName: "")
        }
        let text = options["fd"] ?? ""
        guard let number = Int32(text), number >= 0 else { throw QMPError("Unable to parse FD number \(text)") }
        let descriptor = FileDescriptor(rawValue: number)
        guard let status = try? await descriptor.statx(), status.kind == .socket else {
            throw QMPError("File descriptor '\(text)' is not a socket")
        }
        return isServer ? .listener(Socket(descriptor)) : .socket(Socket(descriptor))
    }

    /// Listens at, or connects to, the first address that works.
    private static func open(
        _ addresses: [SocketAddress], name: String, isServer: Bool, listenName: String
    ) async throws(QMPError) -> MonitorTransport {
        var last = Errno.EADDRNOTAVAIL
        for address in addresses {
            do throws(Errno) {
                return isServer
                    ? try await MonitorTransport.listener(at: address) : .socket(try await Socket.connect(address))
            } catch {
                last = error
            }
        }
        if isServer { throw QMPError("Failed to bind socket\(listenName): \(last)") }
        throw QMPError("Failed to connect to '\(name)': \(last)")
    }
}

/// The flat `key=value` options of `--chardev`: the first may be the backend alone, a key alone is switched on.
struct CharacterDeviceOptions {
    private var values: [String: String] = [:]

    // A switch, not a set: making one is what start-up would take longest for.
    private static func isKnown(_ key: String) -> Bool {
        switch key {
        case "backend", "id", "path", "abstract", "tight", "host", "port", "fd", "ipv4", "ipv6", "server", "wait",
            "nodelay", "delay", "signal":
            true
        default: unsupported.contains(key)
        }
    }

    /// What would change how bytes travel, and is not there; in alphabetical order.
    private static let unsupported: [String] = [
        "logappend", "logfile", "mux", "reconnect-ms", "telnet", "tls-authz", "tls-creds", "tn3270", "websocket",
    ]

    /// Takes an option's value apart. Errors: a key is unknown, or asks for what the daemon does not have.
    init(_ text: String) throws(QMPError) {
        for (index, part) in Self.parts(of: text).enumerated() {
            let pieces = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            var key = pieces[0]
            var value = pieces.count > 1 ? pieces[1] : "on"
            if pieces.count == 1, index == 0, !key.isEmpty { (key, value) = ("backend", key) }
            if pieces.count == 1, key.isEmpty { continue }
            guard Self.isKnown(key) else { throw QMPError("Invalid parameter '\(key)'") }
            values[key] = value
        }
        for key in Self.unsupported where try isSwitchedOn(key) {
            throw QMPError("chardev: '\(key)' is not supported")
        }
    }

    private func isSwitchedOn(_ key: String) throws(QMPError) -> Bool {
        guard let value = values[key] else { return false }
        return value != "off" && value != "0"
    }

    /// The value of a key.
    subscript(key: String) -> String? { values[key] }

    /// The value of a key as a switch. Error: it is neither on nor off.
    func flag(_ key: String) throws(QMPError) -> Bool? {
        switch values[key] {
        case nil: return nil
        case "on", "yes", "true", "y": return true
        case "off", "no", "false", "n": return false
        default: throw QMPError("Parameter '\(key)' expects 'on' or 'off'")
        }
    }

    /// Cuts at single commas; two stand for one.
    private static func parts(of text: String) -> [String] {
        var parts: [String] = []
        var current = ""
        var characters = Array(text.unicodeScalars)[...]
        while let character = characters.popFirst() {
            if character == ",", characters.first != "," {
                parts.append(current)
                current = ""
                continue
            }
            if character == "," { characters.removeFirst() }
            current.unicodeScalars.append(character)
        }
        parts.append(current)
        return parts
    }
}
