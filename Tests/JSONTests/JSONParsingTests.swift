import JSON
import StorageTestSupport
import Testing

@Suite struct JSONParsingTests {
    @Test func `every kind of value`() throws {
        let value = try JSON(parsing: #" {"a": [null, true, false, -1, "x\u0000y"], "b": {}, "c": 1.5} "#)
        #expect(value == ["a": [nil, true, false, -1, "x\u{0}y"], "b": [:], "c": .number(1.5)])
    }

    @Test(
        arguments: [
            ("9223372036854775807", JSON.integer(.max)), ("9223372036854775808", .unsigned(1 << 63)),
            ("18446744073709551615", .unsigned(.max)), ("18446744073709551616", .number(18446744073709551616)),
            ("-9223372036854775808", .integer(.min)), ("-9223372036854775809", .number(-9223372036854775808)),
            ("-0", .integer(0)), ("1.0", .number(1)), ("1e3", .number(1000)), ("1E+3", .number(1000)),
            ("1e999", .number(.infinity)), ("-1e999", .number(-.infinity)), ("1e-999", .number(0)),
            ("0.1", .number(0.1)), ("000", nil), ("-", nil), ("1.", nil), ("1e", nil), ("01.5", nil), ("1.5.5", nil),
            ("--1", nil), ("1-1", nil), ("+1", nil), (".5", nil),
        ] as [(String, JSON?)])
    func `numbers keep what they can`(text: String, expected: JSON?) {
        #expect((try? JSON(parsing: text)) == expected)
        #expect(
            (try? JSON(parsing: "[\"1.5\\\"2.5\", \(text), 1.25]")) == expected.map { ["1.5\"2.5", $0, .number(1.25)] })
    }

    @Test(arguments: ["", "[", "{\"a\":1,\"a\":2}", "nul", "'x'", "[1,]", "1 2", "\"", "\"\\", "\"\\ud800\"", "\u{0}"])
    func `text that is no value is refused`(text: String) {
        #expect(throws: JSONParseError.self) { try JSON(parsing: text) }
    }

    @Test func `the error tells the place`() {
        let error = #expect(throws: JSONParseError.self) { try JSON(parsing: "{\n  x") }
        #expect(error?.line == 2)
    }

    @Test func `bytes that are no UTF-8 are refused`() {
        #expect(throws: JSONParseError.self) { try JSON(parsing: [0x22, 0xFF, 0x22]) }
    }

    @Test func `deep nesting is refused, not followed`() throws {
        let depth = 2000
        let brackets = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        #expect(try JSON(parsing: brackets).description == brackets)
        #expect(throws: JSONParseError.self) { try JSON(parsing: String(repeating: "[", count: 100_000)) }
    }

    @Test func `random values survive encoding and parsing`() throws {
        var random = SeededGenerator(seed: 20_261_123)
        for _ in 0..<2000 {
            let value = random.value(depth: 0)
            for (pretty, order) in [(false, JSONWriter.MemberOrder.qdict), (true, .insertion)] {
                let text = value.encoded(pretty: pretty, order: order)
                #expect(try JSON(parsing: text) == value)
                #expect(text.allSatisfy { $0 < 0x7F })
            }
        }
    }
}

extension SeededGenerator {
    fileprivate mutating func value(depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 3 ? 6 : 8), using: &self) {
        case 0: return nil
        case 1: return .bool(.random(using: &self))
        case 2: return .integer(Int64(truncatingIfNeeded: next()) >> Int64.random(in: 0..<64, using: &self))
        case 3: return .unsigned(next() | 1 << 63)
        case 4: return .number(Double.random(in: -1e10...1e10, using: &self))
        case 5: return .string(string())
        case 6: return .array((0..<Int.random(in: 0..<5, using: &self)).map { _ in value(depth: depth + 1) })
        default:
            let count = Int.random(in: 0..<25, using: &self)
            return .object(JSONObject((0..<count).map { _ in (string(), value(depth: depth + 2)) }))
        }
    }

    fileprivate mutating func string() -> String {
        let alphabet: [Unicode.Scalar] = ["a", "b", "\"", "\\", "/", "\n", "\u{1}", "é", "€", "\u{1F600}", "\u{301}"]
        var string = ""
        for _ in 0..<Int.random(in: 0..<6, using: &self) {
            string.unicodeScalars.append(alphabet[Int.random(in: 0..<alphabet.count, using: &self)])
        }
        return string
    }
}
