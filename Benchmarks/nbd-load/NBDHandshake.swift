import CLiburing
import Glibc
import NBDProtocol

/// The client's side of the negotiation: simple replies, no contexts. Spec: nbd-protocol.md, "Newstyle negotiation".
enum NBDHandshake {
    /// A socket in the transmission phase, and the export's size in bytes.
    static func connect(path: String, export: String) throws(LoadFailure) -> (socket: Int32, size: Int) {
        let socket = try UnixSocket.connect(path: path)
        let greeting = try receive(socket, NBD.greetingSize)
        guard integer(greeting, 0, UInt64.self) == NBD.initialMagic,
            integer(greeting, 8, UInt64.self) == NBD.optionMagic
        else { throw LoadFailure("no NBD server listens there") }
        try send(socket, bytes(UInt32(NBDHandshakeFlags([.fixedNewstyle, .noZeroes]).rawValue)))
        let name = Array(export.utf8)
        let data = bytes(UInt32(name.count)) + name + bytes(UInt16(0))
        try send(socket, bytes(NBD.optionMagic) + bytes(NBDOption.go.rawValue) + bytes(UInt32(data.count)) + data)
        var size: Int?
        while true {
            let header = try receive(socket, 20)
            guard integer(header, 0, UInt64.self) == NBD.optionReplyMagic else {
                throw LoadFailure("a reply is broken")
            }
            let payload = try receive(socket, Int(integer(header, 16, UInt32.self)))
            switch NBDOptionReplyType(rawValue: integer(header, 12, UInt32.self)) {
            case .ack:
                guard let size else { throw LoadFailure("the server does not tell the export's size") }
                return (socket, size)
            case .info where payload.count >= 10 && integer(payload, 0, UInt16.self) == NBDInfoType.export.rawValue:
                size = Int(exactly: integer(payload, 2, UInt64.self))
            case .info: break
            case let type: throw LoadFailure("the server refuses export '\(export)': \(type.map { "\($0)" } ?? "?")")
            }
        }
    }

    private static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private static func integer<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _ type: T.Type) -> T {
        bytes.withUnsafeBytes { T(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }

    private static func receive(_ socket: Int32, _ count: Int) throws(LoadFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard count == 0 || recv(socket, &bytes, count, Int32(MSG_WAITALL)) == count else {
            throw LoadFailure("the server closed the connection")
        }
        return bytes
    }

    private static func send(_ socket: Int32, _ bytes: [UInt8]) throws(LoadFailure) {
        guard Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw LoadFailure("the server closed the connection")
        }
    }
}

/// Blocking Unix sockets.
enum UnixSocket {
    static func connect(path: String) throws(LoadFailure) -> Int32 {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        guard name.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw LoadFailure("the path is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw LoadFailure("\(path): \(String(cString: strerror(errno)))") }
        return socket
    }
}
