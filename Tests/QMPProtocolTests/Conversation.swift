import JSON
import QAPI
import QMPProtocol

/// A server that knows only `query-version`, without sockets: bytes in, bytes out.
struct Conversation {
    /// Everything the server has sent.
    private(set) var output: [UInt8] = []
    private(set) var session = Session()
    private var splitter = MessageSplitter()

    static let version: JSONObject = [
        "qemu": ["major": 11, "minor": 1, "micro": 3], "package": "Debian 1:11.1.3+ds-1",
    ]

    mutating func receive(_ bytes: some Sequence<UInt8>) {
        splitter.feed(bytes)
        while let item = splitter.next() {
            switch session.begin(item) {
            case .reply(let reply): output += reply.message.wireBytes()
            case .run(let request): output += Reply(Self.execute(request), id: request.id).message.wireBytes()
            }
        }
    }

    private static func execute(_ request: Request) -> Result<JSON, QMPError> {
        guard request.command == "query-version" else {
            return .failure(QMPError(.commandNotFound, "The command \(request.command) has not been found"))
        }
        if request.isOutOfBand { return .failure(QMPError("The command query-version does not support OOB")) }
        if let (name, _) = request.arguments.members.first {
            return .failure(QMPError("Parameter '\(name)' is unexpected"))
        }
        return .success(.object(version))
    }
}
