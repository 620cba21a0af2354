import JSON
import QAPI
import QMPProtocol
import Testing

@Suite struct MessageSplitterTests {
    private func items(_ pieces: [[UInt8]]) -> [MessageSplitter.Item] {
        var splitter = MessageSplitter()
        var items: [MessageSplitter.Item] = []
        for piece in pieces {
            splitter.feed(piece)
            while let item = splitter.next() { items.append(item) }
        }
        return items
    }

    private func items(_ text: String) -> [MessageSplitter.Item] { items([Array(text.utf8)]) }

    private func error(_ text: String) -> MessageSplitter.Item { .malformed(QMPError(text)) }

    @Test func `a message is complete with its last brace`() {
        #expect(items("{\"a\":1}") == [.value(["a": 1])])
        #expect(items("{\"a\":1") == [])
        #expect(
            items("{}{'b': [true, \"x\"]}[]\"s\"") == [
                .value([:]), .value(["b": [true, "x"]]), .value([]), .value("s"),
            ])
    }

    @Test func `nothing behind the message returned is looked at`() {
        var splitter = MessageSplitter()
        splitter.feed("{}\u{1}{}".utf8)
        #expect(splitter.next() == .value([:]))
        splitter.feed("[]".utf8)
        #expect(splitter.next() == error("1:3: JSON parse error, stray '\u{1}'"))
        #expect(splitter.next() == .value([:]))
        #expect(splitter.next() == .value([]))
        #expect(splitter.next() == nil)
    }

    @Test func `numbers keep what they can`() {
        let text =
            "[9223372036854775807,9223372036854775808,18446744073709551615,18446744073709551616,-0,1e3,0e5,1e999]"
        let expected: JSON = [
            .integer(.max), .unsigned(1 << 63), .unsigned(.max), .number(18446744073709551616), 0, .number(1000),
            .number(0), .number(.infinity),
        ]
        #expect(items(text) == [.value(expected)])
    }

    @Test func `a key may hold U+0000`() {
        #expect(items("{\"a\\u0000\":{\"\\u0000\":1}}") == [.value(["a\0": ["\0": 1]])])
        #expect(items("{\"\\u0000\":1,\"\\u0000\":2}") == [error("1:22: JSON parse error, duplicate key")])
    }

    @Test(arguments: [15, 16, 17, 18, 100])
    func `a key that repeats is found among any number`(count: Int) {
        let members = (0..<count).map { "\"k\($0)\":0" }.joined(separator: ",")
        #expect(items("{\(members)}").count == 1)
        for repeated in [0, count / 2, count - 1] {
            let text = "{\(members),\"k\(repeated)\":{\"k0\":[]}}"
            #expect(items(text) == [error("1:\(text.utf8.count - 1): JSON parse error, duplicate key")])
        }
    }

    @Test func `nesting is limited to 1024 levels`() {
        let limit = error("JSON nesting depth limit exceeded")
        func nest(_ open: String, _ close: String, _ depth: Int) -> String {
            String(repeating: open, count: depth) + String(repeating: close, count: depth)
        }
        #expect(items(nest("[", "]", 1024)).count == 1)
        #expect(items(nest("[", "]", 1024)) != [limit])
        #expect(items(nest("[", "]", 1025) + "{}") == [limit, .value([:])])
        #expect(items(nest("[", "]", 100_000) + "{}") == [limit, .value([:])])
        #expect(items(String(repeating: "{\"a\":", count: 1025)) == [limit])
        #expect(items(String(repeating: "[{\"a\":", count: 512)) == [])
        #expect(items(String(repeating: "[{\"a\":", count: 512) + "[") == [limit])
    }

    @Test func `the number of tokens is limited`() {
        let limit = error("JSON token count limit exceeded")
        var bytes: [UInt8] = [UInt8(ascii: "[")]
        for _ in 0..<(Limits.tokens / 2 - 1) { bytes += [UInt8(ascii: "1"), UInt8(ascii: ",")] }
        #expect(items([bytes + Array("1 ".utf8)]) == [])
        #expect(items([bytes + Array("1 ]{}".utf8)]) == [limit, .value([:])])
        #expect(items([Array(bytes.dropLast(2)) + Array("]".utf8)]).count == 1)
    }

    @Test func `the size of tokens is limited and so is the memory`() {
        let limit = error("JSON token size limit exceeded")
        var splitter = MessageSplitter()
        let piece = [UInt8](repeating: UInt8(ascii: "a"), count: 1 << 20)
        splitter.feed("\"".utf8)
        var items: [MessageSplitter.Item] = []
        for _ in 0..<70 {
            splitter.feed(piece)
            while let item = splitter.next() { items.append(item) }
        }
        splitter.feed("\n{}".utf8)
        while let item = splitter.next() { items.append(item) }
        #expect(items == [limit, .value([:])])
    }

    @Test(arguments: ["\u{1}", "\u{0}", "\u{1F}"])
    func `a control character leads back to a known state`(control: String) {
        for start in ["", "{", "[[[", "{\"a\":", "\"abc", "'\\", "12", "tru", "{]", "\\", "[1 2", "-"] {
            let found = items(start + control + "{\"execute\":\"x\"}")
            #expect(found.last == .value(["execute": "x"]), "\(start.debugDescription)")
            #expect(found.count <= 3)
        }
    }

    @Test(arguments: [0xFE, 0xFF] as [UInt8])
    func `the bytes FE and FF lead back to a known state`(byte: UInt8) {
        for start in ["", "{", "[[[", "{\"a\":", "\"abc", "'\\", "12", "tru", "{]", "\\"] {
            let found = items([Array(start.utf8) + [byte] + Array("{\"execute\":\"x\"}".utf8)])
            #expect(found.last == .value(["execute": "x"]), "\(start.debugDescription)")
        }
    }
}
