import JSON
import QAPI
import QMPProtocol
import Testing

@Suite struct ServerMessageTests {
    private func text(_ message: JSONObject, pretty: Bool = false) -> String {
        String(decoding: message.wireBytes(pretty: pretty), as: UTF8.self)
    }

    @Test func `the greeting is that of the real program`() {
        let greeting = Greeting(version: Conversation.version)
        #expect(
            text(greeting.message)
                == "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, "
                + "\"package\": \"Debian 1:11.1.3+ds-1\"}, \"capabilities\": [\"oob\"]}}\r\n")
        #expect(ServerMessage(.object(greeting.message)) == .greeting(greeting))
    }

    @Test func `an event ends with its data`() {
        let event = Event("STOP", data: ["a": 1], seconds: 12, microseconds: 345)
        #expect(
            text(event.message)
                == "{\"timestamp\": {\"seconds\": 12, \"microseconds\": 345}, \"event\": \"STOP\", \"data\": {\"a\": 1}}\r\n"
        )
        #expect(ServerMessage(.object(event.message)) == .event(event))
        let bare = Event("STOP", seconds: -1, microseconds: -1)
        #expect(bare.message["data"] == nil)
        #expect(ServerMessage(.object(bare.message)) == .event(bare))
    }

    @Test func `replies survive the way to the client`() {
        let replies = [
            Reply(.success(["a": [1]]), id: 7), Reply(.success([:])), Reply(.failure(QMPError("x y")), id: "q"),
            Reply(.failure(QMPError(.deviceNotActive, "no"))),
        ]
        for reply in replies { #expect(ServerMessage(.object(reply.message)) == .reply(reply)) }
    }

    @Test func `a pretty message is spread over lines`() {
        #expect(text(Reply(.success([:])).message, pretty: true) == "{\r\n    \"return\": {\r\n    }\r\n}\r\n")
    }

    @Test(arguments: [nil, 1, [], [:], ["error": 1], ["QMP": 1], ["event": 1], ["id": 1]] as [JSON])
    func `anything else is no message of a server`(message: JSON) {
        #expect(ServerMessage(message) == nil)
    }

    @Test func `an error of an unknown class is a generic one`() {
        let message: JSON = ["error": ["class": "Odd", "desc": "x"]]
        #expect(ServerMessage(message) == .reply(Reply(.failure(QMPError("x")))))
    }

    @Test func `a request survives the way to the server`() throws {
        let requests = [
            Request("a"), Request("b", arguments: ["x": [1]], id: 5), Request("c", id: nil, isOutOfBand: true),
        ]
        for request in requests {
            #expect(try Request(checking: .object(request.message), isOOBEnabled: true) == request)
        }
    }
}
