import NBDProtocol
import Testing

@Suite struct NBDHandshakeDecoderTests {
    @Test func `messages come out whole at any split`() throws {
        let stream = bytes(UInt32(3)) + option(3) + option(7, goData("disk")) + option(77, [1, 2, 3]) + [9, 9]
        let expected: [NBDHandshakeDecoder.Message] = [
            .flags(3), .option(3, data: []), .option(7, data: goData("disk")), .option(77, data: [1, 2, 3]),
        ]
        for step in [1, 2, 3, 7, 16, stream.count] {
            var decoder = NBDHandshakeDecoder()
            var messages: [NBDHandshakeDecoder.Message] = []
            for start in stride(from: 0, to: stream.count, by: step) {
                decoder.append(stream[start..<min(start + step, stream.count)])
                while let message = try decoder.next() { messages.append(message) }
            }
            #expect(messages == expected)
            let remainder = decoder.takeRemainder()
            #expect(remainder == [9, 9])
        }
    }

    @Test func `unknown flags and bad magic are fatal`() throws {
        var decoder = NBDHandshakeDecoder()
        decoder.append(bytes(UInt32(4)))
        #expect(throws: NBDFatalError.unknownClientFlags(4)) { try decoder.next() }
        decoder = NBDHandshakeDecoder()
        decoder.append(bytes(UInt32(0)) + bytes(UInt64(5)) + bytes(UInt64(0)))
        let flags = try decoder.next()
        #expect(flags == .flags(0))
        #expect(throws: NBDFatalError.badMagic(5)) { try decoder.next() }
    }

    @Test(arguments: [NBD.maximumOptionData, NBD.maximumOptionData + 1, NBD.maximumPayload, NBD.maximumPayload + 1])
    func `long data is stored, skipped or fatal by its length`(length: UInt32) throws {
        var decoder = NBDHandshakeDecoder()
        decoder.append(bytes(UInt32(3)) + option(99, [], length: length))
        _ = try decoder.next()
        if length > NBD.maximumPayload {
            #expect(throws: NBDFatalError.optionTooLong(length)) { try decoder.next() }
            return
        }
        let early = try decoder.next()
        #expect(early == (length > NBD.maximumOptionData ? .oversizedOption(99, length: length) : nil))
        let piece = [UInt8](repeating: 7, count: 1 << 20)
        var left = Int(length)
        while left > 0 {
            decoder.append(piece.prefix(left))
            left -= min(left, piece.count)
            let message = left > 0 ? try decoder.next() : nil
            #expect(message == nil)
        }
        if length <= NBD.maximumOptionData {
            guard case .option(99, let data) = try decoder.next() else {
                Issue.record("the option did not come out")
                return
            }
            #expect(data.count == Int(length))
        }
        decoder.append(option(3))
        let last = try decoder.next()
        #expect(last == .option(3, data: []))
    }

    @Test func `an oversized option is answered as too big`() {
        var negotiation = NBDNegotiation()
        _ = negotiation.handle(.flags(3), exports: [])
        let step = negotiation.handle(.oversizedOption(7, length: 2 << 20), exports: [])
        #expect(replies(step.reply).first?.type == NBDOptionReplyType.tooBig.rawValue)
        #expect(step.next == .option)
        let name = negotiation.handle(.oversizedOption(1, length: 2 << 20), exports: [])
        #expect(name.next == .close("Bad length received"))
    }
}
