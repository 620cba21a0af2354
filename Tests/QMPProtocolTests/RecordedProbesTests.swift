import QMPProtocol
import Testing

@Suite struct RecordedProbesTests {
    private func replies(to input: [UInt8], inPiecesOf size: Int) -> [UInt8] {
        var conversation = Conversation()
        conversation.receive(RecordedProbes.negotiation)
        let start = conversation.output.count
        let bytes = input + RecordedProbes.end
        for index in stride(from: 0, to: bytes.count, by: size) {
            conversation.receive(bytes[index..<min(index + size, bytes.count)])
        }
        return Array(conversation.output[start...])
    }

    @Test(arguments: [Int.max / 2, 1, 3])
    func `the replies are those of the real program, whatever the pieces`(size: Int) throws {
        let recorded = try RecordedProbes().probes
        #expect(recorded.count >= 300)
        var mismatches = 0
        for probe in recorded {
            let ours = replies(to: probe.input, inPiecesOf: size)
            let expected = probe.replies + RecordedProbes.endReply
            guard ours != expected else { continue }
            mismatches += 1
            if mismatches > 20 { continue }
            let texts = [probe.input, expected, ours].map { String(decoding: $0, as: UTF8.self).debugDescription }
            Issue.record("input \(texts[0])\nexpected \(texts[1])\nours     \(texts[2])")
        }
        #expect(mismatches == 0)
    }
}
