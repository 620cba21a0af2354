import Foundation
import Testing

/// What the real program, version 11.1.3, answered to inputs good and bad.
///
/// Each line of the fixture holds an input and the replies to it, separated by a tab; bytes outside printable ASCII,
/// and the backslash, stand as `\xNN`. The input came after `negotiation` on a fresh connection and was followed by
/// `end`, whose replies up to the error for the control character belong to the recorded ones.
struct RecordedProbes {
    static let negotiation = Array("{\"execute\":\"qmp_capabilities\"}\n".utf8)
    static let end = Array("\u{1}{\"execute\":\"qmp_capabilities\",\"id\":\"S\"}".utf8)
    static let endReply = Array(
        ("{\"id\": \"S\", \"error\": {\"class\": \"CommandNotFound\", \"desc\": "
            + "\"Capabilities negotiation is already complete, command ignored\"}}\r\n").utf8)

    let probes: [(input: [UInt8], replies: [UInt8])]

    init() throws {
        let url = try #require(Bundle.module.url(forResource: "Fixtures/probes.tsv", withExtension: nil))
        let file = try Array(Data(contentsOf: url))
        probes = try file.split(separator: UInt8(ascii: "\n")).map { line in
            let fields = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
            try #require(fields.count == 2)
            return (Self.unescaped(fields[0]), Self.unescaped(fields[1]))
        }
    }

    private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
        var rest = field
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\") {
                bytes.append(UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }
}
