import NBDProtocol
import Testing

/// A server without I/O: feeds a stream through negotiation and request checks, and records all that it would say.
private struct StreamModel {
    var decoder = NBDHandshakeDecoder()
    var negotiation = NBDNegotiation()
    var session: NBDSession?
    var pending: [UInt8] = []
    var output: [UInt8] = []
    var isClosed = false
    let exports = [
        NBDExportInfo(
            name: "a", description: "d", size: 65536, isWritable: true, allocationDepth: true, bitmaps: ["b"]),
        NBDExportInfo(name: "ro", size: 1000, minimumBlock: 512),
    ]

    mutating func feed(_ bytes: ArraySlice<UInt8>) {
        guard !isClosed else { return }
        if session == nil {
            decoder.append(bytes)
            negotiate()
        } else {
            pending += bytes
        }
        while !isClosed, let session, serve(session) {}
    }

    mutating func negotiate() {
        do {
            while !isClosed, session == nil, let message = try decoder.next() {
                let step = negotiation.handle(message, exports: exports)
                output += step.reply
                switch step.next {
                case .option: break
                case .close: isClosed = true
                case .transmission(let agreed):
                    session = agreed
                    pending = decoder.takeRemainder()
                }
            }
        } catch {
            isClosed = true
        }
    }

    /// Handles one request if it is complete.
    mutating func serve(_ session: NBDSession) -> Bool {
        guard let decoded = try? NBDRequest.decode(pending.span.bytes, headers: session.headers) else {
            isClosed = true
            return false
        }
        guard case .request(let request, let size) = decoded else { return false }
        var refusal = request.refusal(session)
        let payload = request.payloadLength(session.headers)
        guard refusal?.isFatal != true, let length = Int(exactly: payload) else {
            isClosed = true
            return false
        }
        guard pending.count >= size + length else { return false }
        if refusal == nil, request.command == .blockStatus, length > 0 {
            let data = Array(pending[size..<size + length])
            do throws(NBDRefusal) {
                _ = try request.narrowed(by: data.span.bytes, session: session)
            } catch {
                refusal = error
            }
        }
        pending.removeFirst(size + length)
        let encoder = NBDReplyEncoder(headers: session.headers)
        output += encoded {
            if let refusal {
                encoder.failure(request, refusal.error, refusal.message, to: &$0)
            } else {
                encoder.success(request, to: &$0)
            }
        }
        isClosed = request.command == .disconnect
        return !isClosed
    }
}

@Suite struct NBDFuzzTests {
    /// A plausible conversation, then up to four mutations.
    func stream(_ random: inout SeededGenerator) -> [UInt8] {
        var stream = bytes(UInt32(UInt32.random(in: 0...3, using: &random) | 1))
        let headers = [NBDHeaderMode.simple, .structured, .extended].randomElement(using: &random) ?? .simple
        if headers == .structured { stream += option(8) }
        if headers == .extended { stream += option(11) }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            switch Int.random(in: 0...4, using: &random) {
            case 0: stream += option(3)
            case 1: stream += option(10, metaData("a", ["base:allocation", "qemu:dirty-bitmap:b"]))
            case 2: stream += option(9, metaData("a", ["qemu:"]))
            case 3: stream += option(6, goData("ro", [.blockSize, .name]))
            default: stream += option(UInt32.random(in: 0...14, using: &random), [1, 2, 3])
            }
        }
        stream += option(7, goData(Bool.random(using: &random) ? "a" : "ro", [.blockSize]))
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            var request = NBDRequest(
                flags: NBDCommandFlags(rawValue: 1 << UInt16.random(in: 0...8, using: &random)),
                type: UInt16.random(in: 0...8, using: &random), cookie: random.next(),
                offset: UInt64.random(in: 0...70000, using: &random), length: UInt64.random(in: 0...64, using: &random))
            if request.command == .disconnect { request.type = 0 }
            stream += encoded { request.encode(headers: headers, to: &$0) }
            let payload = Int(request.payloadLength(headers))
            stream += (0..<payload).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        for _ in 0..<Int.random(in: 0...4, using: &random) { mutate(&stream, &random) }
        return stream
    }

    func mutate(_ stream: inout [UInt8], _ random: inout SeededGenerator) {
        guard let index = stream.indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0...4, using: &random) {
        case 0: stream[index] = UInt8.random(in: 0...255, using: &random)
        case 1: stream[index] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 2: stream.remove(at: index)
        case 3: stream.insert([0, 1, 127, 128, 255].randomElement(using: &random) ?? 0, at: index)
        default: stream.removeLast(stream.count - index)
        }
    }

    @Test(arguments: 0..<4)
    func `100,000 mutated streams never trap and do not depend on how they are cut`(part: Int) {
        let seed = UInt64(20_261_123 + part)
        var random = SeededGenerator(seed: seed)
        var transmissions = 0
        for round in 0..<25_000 {
            let stream = stream(&random)
            var whole = StreamModel()
            whole.feed(stream[...])
            var pieces = StreamModel()
            for index in stream.indices { pieces.feed(stream[index...index]) }
            guard whole.output == pieces.output, whole.isClosed == pieces.isClosed, whole.session == pieces.session
            else {
                Issue.record("seed \(seed) round \(round) differs")
                return
            }
            if whole.session != nil { transmissions += 1 }
        }
        #expect(transmissions > 2000, "seed \(seed): the streams get far enough to mean something")
    }
}
