import Foundation
import Testing

/// What the real program printed and replied to lines of its monitor. The file has, for each line: "> " and the line in
/// JSON, what was printed, without times, and "< " and the reply in JSON.
struct Transcript {
    struct Entry: Sendable {
        let line: String
        var printed = ""
        var reply = ""
    }

    let entries: [Entry]

    init(named name: String) throws {
        let url = try #require(Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil))
        var entries: [Entry] = []
        var isComplete = true
        for bytes in try Data(contentsOf: url).split(separator: 0x0A, omittingEmptySubsequences: false) {
            let line = String(decoding: bytes, as: UTF8.self)
            if line.hasPrefix("> ") {
                entries.append(Entry(line: try Self.decode(line)))
                isComplete = false
            } else if line.hasPrefix("< ") {
                entries[entries.count - 1].reply = try Self.decode(line)
                isComplete = true
            } else if !isComplete {
                entries[entries.count - 1].printed += line + "\n"
            }
        }
        self.entries = entries
    }

    private static func decode(_ line: String) throws -> String {
        try JSONDecoder().decode(String.self, from: Data(line.utf8.dropFirst(2)))
    }
}
