import JSON
import QAPI
import QMPProtocol
import Testing

@Suite struct SessionTests {
    /// The replies to a text on a fresh connection, without line ends.
    private func replies(_ text: String) -> [String] {
        var conversation = Conversation()
        conversation.receive(text.utf8)
        return String(decoding: conversation.output, as: UTF8.self).split(separator: "\r\n").map(String.init)
    }

    private func failure(_ description: String, _ errorClass: String = "GenericError", id: String = "") -> String {
        "{\(id.isEmpty ? "" : "\"id\": \(id), ")\"error\": {\"class\": \"\(errorClass)\", \"desc\": \"\(description)\"}}"
    }

    private let negotiation = #"{"execute":"qmp_capabilities"}"#
    private let oobNegotiation = #"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#
    private let success = #"{"return": {}}"#

    @Test(arguments: [
        (#"{}"#, "QMP input lacks member 'execute'"),
        (#"{"a":1}"#, "QMP input member 'a' is unexpected"),
        (#"{"b":1,"a":2}"#, "QMP input member 'a' is unexpected"),
        (#"{"execute":1}"#, "QMP input member 'execute' must be a string"),
        (#"{"execute":"x","arguments":null}"#, "QMP input member 'arguments' must be an object"),
        (#"{"execute":"x","arguments":[]}"#, "QMP input member 'arguments' must be an object"),
        (#"{"arguments":1}"#, "QMP input member 'arguments' must be an object"),
        (#"{"execute":"x","exec-oob":"x"}"#, "QMP input member 'exec-oob' is unexpected"),
        (#"{"execute":1,"exec-oob":"y"}"#, "QMP input member 'exec-oob' is unexpected"),
        (#"{"execute":1,"zzz":1}"#, "QMP input member 'execute' must be a string"),
        (#"{"execute":"x","arguments":1,"zzz":1}"#, "QMP input member 'zzz' is unexpected"),
        ("1 ", "QMP input must be a JSON object"),
        ("[]", "QMP input must be a JSON object"),
    ])
    func `a message that is no request is refused before and after negotiation`(text: String, description: String) {
        #expect(replies(text) == [failure(description)])
        #expect(replies(negotiation + text) == [success, failure(description)])
    }

    @Test func `before negotiation no other command is executed`() {
        let text = #"{"execute":"query-version","id":5}{"execute":"x","arguments":{"a":1}}"#
        let expected = "Expecting capabilities negotiation with 'qmp_capabilities'"
        #expect(replies(text) == [failure(expected, "CommandNotFound", id: "5"), failure(expected, "CommandNotFound")])
    }

    @Test func `negotiation happens once`() {
        let again = failure("Capabilities negotiation is already complete, command ignored", "CommandNotFound")
        #expect(replies(negotiation + negotiation) == [success, again])
        #expect(replies(#"{"execute":"qmp_capabilities","id":null}"#) == [#"{"return": {}, "id": null}"#])
        #expect(
            replies(negotiation + #"{"execute":"qmp_capabilities","arguments":{"x":1}}"#)
                == [success, failure("Parameter 'x' is unexpected")])
    }

    @Test(arguments: [
        (#"{"enable":"oob"}"#, "Invalid parameter type for 'enable', expected: array"),
        (#"{"enable":null}"#, "Invalid parameter type for 'enable', expected: array"),
        (#"{"enable":[1]}"#, "Invalid parameter type for 'enable[0]', expected: string"),
        (#"{"enable":["oob","foo"]}"#, "Parameter 'null' does not accept value 'foo'"),
        (#"{"enable":["oob"],"zz":1}"#, "Parameter 'zz' is unexpected"),
        (#"{"x":1}"#, "Parameter 'x' is unexpected"),
    ])
    func `negotiation with bad arguments leaves the session as it was`(arguments: String, description: String) {
        let text = #"{"execute":"qmp_capabilities","arguments":\#(arguments)}{"execute":"x"}"#
        let expecting = failure("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound")
        #expect(replies(text) == [failure(description), expecting])
    }

    @Test func `an id is repeated as it came`() {
        let version = "{\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, \"package\": \"Debian 1:11.1.3+ds-1\"}"
        let text = #"{"id":[{"b":1,"a":'é'}],"execute":"query-version"}"#
        #expect(replies(negotiation + text).last == #"{"return": \#(version), "id": [{"a": "\u00E9", "b": 1}]}"#)
        #expect(replies(#"{"id":1,"a":2}"#) == [failure("QMP input member 'a' is unexpected", id: "1")])
    }

    @Test func `out-of-band execution has to be enabled`() {
        let version = #"{"exec-oob":"query-version","id":1}"#
        #expect(replies(version) == [failure("QMP input member 'exec-oob' is unexpected", id: "1")])
        #expect(replies(negotiation + version).last == failure("QMP input member 'exec-oob' is unexpected", id: "1"))
        #expect(
            replies(oobNegotiation + version)
                == [success, failure("The command query-version does not support OOB", id: "1")])
        #expect(
            replies(oobNegotiation + #"{"exec-oob":"x","execute":"y","id":3}"#).last
                == failure("QMP input member 'execute' clashes with 'exec-oob'", id: "3"))
        #expect(
            replies(oobNegotiation + #"{"exec-oob":1}"#).last == failure("QMP input member 'exec-oob' must be a string")
        )
        #expect(replies(oobNegotiation + #"{"id":1}"#).last == failure("QMP input lacks member 'execute'", id: "1"))
    }

    @Test func `only a message for out-of-band execution overtakes, and only once that is enabled`() {
        var session = Session()
        let item = MessageSplitter.Item.value(["exec-oob": "x"])
        #expect(!session.overtakes(item))
        #expect(session.queueLimit == 1)
        let enable: JSON = ["execute": "qmp_capabilities", "arguments": ["enable": ["oob"]]]
        #expect(session.begin(.value(enable)) == .reply(Reply(.success([:]))))
        #expect(session.overtakes(item))
        #expect(!session.overtakes(.value(["exec-oob": "x", "execute": "x"])))
        #expect(!session.overtakes(.value(["execute": "x"])))
        #expect(session.queueLimit == 8)
        #expect(session.begin(item) == .run(Request("x", isOutOfBand: true)))
        #expect(session.isNegotiated && session.isOOBEnabled)
    }
}
