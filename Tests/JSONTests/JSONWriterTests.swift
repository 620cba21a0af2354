import Foundation
import JSON
import Testing

@Suite struct JSONWriterTests {
    private func fixture(_ name: String) throws -> [UInt8] {
        let url = try #require(Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil))
        return try Array(Data(contentsOf: url))
    }

    private func text(_ value: JSON, pretty: Bool = false, order: JSONWriter.MemberOrder = .qdict) -> String {
        String(decoding: value.encoded(pretty: pretty, order: order), as: UTF8.self)
    }

    /// The value with all members in the opposite order: what is printed first in a bucket was added last.
    private func reversed(_ value: JSON) -> JSON {
        switch value {
        case .array(let elements): .array(elements.map(reversed))
        case .object(let object): .object(JSONObject(object.members.reversed().map { ($0.name, reversed($0.value)) }))
        default: value
        }
    }

    @Test func `replies recorded from the real program come out byte for byte`() throws {
        let recorded = try fixture("replies.txt")
        var writer = JSONWriter()
        for line in recorded.split(separator: 10) {
            writer.value(reversed(try JSON(parsing: Array(line))))
            writer.endMessage()
        }
        #expect(recorded.count > 20_000)
        #expect(writer.bytes == recorded)
    }

    @Test func `a pretty reply recorded from the real program comes out byte for byte`() throws {
        let recorded = try fixture("pretty.txt")
        var writer = JSONWriter(pretty: true)
        writer.value(reversed(try JSON(parsing: recorded)))
        writer.endMessage()
        #expect(writer.bytes == recorded)
    }

    @Test func `pretty text closes even empty containers on a line of their own`() {
        let lines = [
            "{", "    \"a\": [", "    ],", "    \"b\": {", "    },", "    \"c\": [", "        1,", "        null",
            "    ]", "}",
        ]
        let value: JSON = ["a": [], "b": [:], "c": [1, nil]]
        #expect(text(value, pretty: true, order: .insertion) == lines.joined(separator: "\r\n"))
        #expect(text(7, pretty: true) == "7")
    }

    @Test func `members of one bucket come out with the last one first`() {
        var names: [UInt32: String] = [:]
        var pair: (String, String)?
        for number in 0..<10_000 where pair == nil {
            let name = "name\(number)"
            let bucket = QDictOrder.bucket(of: name)
            if let other = names[bucket] { pair = (other, name) }
            names[bucket] = name
        }
        guard let (first, second) = pair else {
            Issue.record("no two names share a bucket")
            return
        }
        #expect(QDictOrder.positions(of: [first, second]) == [1, 0])
        #expect(QDictOrder.positions(of: [second, first]) == [1, 0])
        #expect(text(.object([first: 1, second: 2])) == "{\"\(second)\": 2, \"\(first)\": 1}")
    }

    @Test func `the order of well-known members`() {
        #expect(text(["data": 1, "event": 2, "timestamp": 3]) == #"{"timestamp": 3, "event": 2, "data": 1}"#)
        #expect(text(["id": 1, "return": 2]) == #"{"return": 2, "id": 1}"#)
        #expect(text(["id": 1, "error": ["desc": 1, "class": 2]]) == #"{"id": 1, "error": {"class": 2, "desc": 1}}"#)
        #expect(text(["class": 1, "desc": 2], order: .insertion) == #"{"class": 1, "desc": 2}"#)
    }

    @Test(arguments: [
        (0.1, "0.10000000000000001"), (1000, "1000"), (-0.0, "-0"), (1e16, "10000000000000000"), (1e17, "1e+17"),
        (1e-5, "1.0000000000000001e-05"), (18446744073709551616, "1.8446744073709552e+19"),
        (.leastNonzeroMagnitude, "4.9406564584124654e-324"), (-1.7976931348623157e308, "-1.7976931348623157e+308"),
        (.infinity, "1e999"), (-.infinity, "-1e999"), (.nan, "null"),
    ])
    func `numbers have 17 significant digits`(number: Double, expected: String) {
        #expect(text(.number(number)) == expected)
    }

    @Test func `integers to the ends of their range`() {
        #expect(text(.integer(.min)) == "-9223372036854775808")
        #expect(text(.integer(.max)) == "9223372036854775807")
        #expect(text(.unsigned(.max)) == "18446744073709551615")
        #expect(text(0) == "0")
        #expect(text(-10) == "-10")
    }

    @Test func `strings are ASCII with upper-case escapes`() {
        let string = "\u{7f}\u{80}\u{8}\u{c}\n\r\t\u{1f}/\"\\'é€\u{1F600}\u{fffd}\u{0}~ "
        let expected =
            #""\u007F\u0080\b\f\n\r\t\u001F/\"\\'\u00E9\u20AC\uD83D\uDE00\uFFFD\u0000~ ""#
        #expect(text(.string(string)) == expected)
    }

    @Test func `a writer driven by hand gives what a value gives`() {
        var writer = JSONWriter()
        writer.beginObject()
        writer.name("return")
        writer.beginArray()
        writer.value(true)
        writer.value(UInt64.max)
        writer.value(Int8.min)
        writer.value("x")
        writer.null()
        writer.beginObject()
        writer.endObject()
        writer.endArray()
        writer.name("id")
        writer.value(0.5)
        writer.endObject()
        writer.endMessage()
        writer.beginArray()
        writer.endArray()
        let expected = "{\"return\": [true, 18446744073709551615, -128, \"x\", null, {}], \"id\": 0.5}\r\n[]"
        #expect(String(decoding: writer.bytes, as: UTF8.self) == expected)
    }
}
