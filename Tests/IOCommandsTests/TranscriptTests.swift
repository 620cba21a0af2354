import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@Suite struct TranscriptTests {
    @Test(arguments: ["commands.txt", "random-commands.txt", "monitor.txt"])
    func `prints and replies what the real program does`(file: String) async throws {
        let transcript = try Transcript(named: file)
        let differences = try await onLoop { () async throws(any Error) -> [String] in
            var options = NodeOptions()
            options.discard = .unmap
            let harness = try await Harness(TestDriver(1 << 20), options: options)
            options.isReadOnly = true
            _ = try await Harness.open(TestDriver(1 << 20), "ro", options, harness.graph)
            var differences: [String] = []
            for entry in transcript.entries {
                let (printed, reply) = await harness.line(entry.line)
                let text = withoutTimes(printed)
                guard text != entry.printed || reply != entry.reply else { continue }
                differences.append("\(entry.line)\n\(text)\(reply)\ninstead of\n\(entry.printed)\(entry.reply)")
            }
            return differences
        }
        #expect(differences.isEmpty, "\(differences.joined(separator: "\n\n"))")
        #expect(transcript.entries.count > 100)
    }
}
