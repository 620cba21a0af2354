import NBDProtocol
import Testing

@Suite struct NBDRequestTests {
    static let size: UInt64 = 1 << 20

    func session(
        _ headers: NBDHeaderMode = .structured, writable: Bool = true, minimum: UInt32 = 1, size: UInt64 = Self.size,
        contexts: [NBDMetaContext] = [.allocation, .dirtyBitmap(0)]
    ) -> NBDSession {
        let export = NBDExportInfo(name: "", size: size, isWritable: writable, minimumBlock: minimum, bitmaps: ["b"])
        return NBDSession(export: export, headers: headers, contexts: contexts, minimumBlock: minimum)
    }

    func request(
        _ command: NBDCommand, _ offset: UInt64, _ length: UInt64, _ flags: NBDCommandFlags = []
    ) -> NBDRequest {
        NBDRequest(flags: flags, type: command.rawValue, cookie: 7, offset: offset, length: length)
    }

    @Test(arguments: [NBDHeaderMode.simple, .structured, .extended])
    func `headers decode as they were encoded, at any prefix`(headers: NBDHeaderMode) throws {
        let request = NBDRequest(
            flags: [.fua, .noHole], type: 6, cookie: 0x0102_0304_0506_0708, offset: 1 << 40, length: 0xffff_fff0)
        let header = encoded { request.encode(headers: headers, to: &$0) }
        #expect(header.count == headers.requestSize)
        for count in 0...header.count {
            let decoded = try NBDRequest.decode(Array(header.prefix(count)).span.bytes, headers: headers)
            #expect(decoded == (count < header.count ? .needMore : .request(request, size: count)))
        }
    }

    @Test func `the wrong kind of header is fatal`() {
        let compact = encoded { request(.read, 0, 1).encode(headers: .simple, to: &$0) }
        let extended = encoded { request(.read, 0, 1).encode(headers: .extended, to: &$0) }
        #expect(throws: NBDFatalError.badMagic(UInt64(NBD.requestMagic))) {
            try NBDRequest.decode(compact.span.bytes, headers: .extended)
        }
        #expect(throws: NBDFatalError.badMagic(UInt64(NBD.extendedRequestMagic))) {
            try NBDRequest.decode(extended.span.bytes, headers: .structured)
        }
    }

    @Test func `payload follows writes, and extended requests that say so`() {
        #expect(request(.write, 0, 9).payloadLength(.simple) == 9)
        #expect(request(.write, 0, 9).payloadLength(.extended) == 9)
        #expect(request(.read, 0, 9, .payloadLength).payloadLength(.structured) == 0)
        #expect(request(.read, 0, 9, .payloadLength).payloadLength(.extended) == 9)
        #expect(
            NBDRequest(flags: .payloadLength, type: 99, cookie: 0, offset: 0, length: 9).payloadLength(.extended) == 9)
    }

    @Test func `ranges up to the end are valid, and one byte more is not`() {
        let session = session()
        for command in [NBDCommand.read, .write, .trim, .writeZeroes, .cache, .blockStatus] {
            #expect(request(command, 0, Self.size).refusal(session) == nil)
            #expect(request(command, Self.size - 1, 1).refusal(session) == nil)
            let expected: NBDError = command == .write || command == .writeZeroes ? .noSpace : .invalid
            for (offset, length) in [(Self.size - 1, 2), (UInt64.max, 2), (Self.size + 1, 1), (0, Self.size + 1)] {
                let refusal = request(command, offset, length).refusal(session)
                #expect(refusal?.error == expected)
                #expect(
                    refusal?.message == "operation past EOF; From: \(offset), Len: \(length), Size: \(Self.size)")
            }
        }
        #expect(request(.read, Self.size, 0).refusal(session) == nil)
        #expect(request(.flush, 5, 5).refusal(session) == nil)
        #expect(request(.trim, 0, UInt64.max).refusal(session)?.error == .invalid)
    }

    @Test func `changes of a read-only export are not permitted`() {
        let session = session(writable: false)
        for command in [NBDCommand.write, .trim, .writeZeroes] {
            #expect(request(command, 0, 512).refusal(session) == NBDRefusal(.permission, "Export is read-only"))
        }
        for command in [NBDCommand.read, .cache, .blockStatus, .flush] {
            #expect(request(command, 0, 512).refusal(session) == nil)
        }
    }

    @Test(arguments: NBDCommand.allCases)
    func `flags are valid only for their command and headers`(command: NBDCommand) {
        let all: [NBDCommandFlags] = [.fua, .noHole, .dontFragment, .requestOne, .fastZero, .payloadLength]
        for headers in [NBDHeaderMode.simple, .structured, .extended] {
            for flag in all + [NBDCommandFlags(rawValue: 0x8000)] {
                let allowed: Bool =
                    switch flag {
                    case .fua: true
                    case .noHole, .fastZero: command == .writeZeroes
                    case .dontFragment: command == .read && headers != .simple
                    case .requestOne: command == .blockStatus
                    case .payloadLength: headers == .extended && (command == .write || command == .blockStatus)
                    default: false
                    }
                let refusal = request(command, 0, 512, flag).refusal(session(headers))
                #expect((refusal == nil) == (allowed || command == .disconnect))
                if let refusal {
                    let hex = String(flag.rawValue, radix: 16)
                    #expect(
                        refusal
                            == NBDRefusal(.invalid, "unsupported flags for command \(command.name) (got 0x\(hex))"))
                }
            }
        }
    }

    @Test func `oversized payloads end the connection, oversized reads do not`() {
        let big = UInt64(NBD.maximumPayload) + 1
        let large = session(size: 1 << 40)
        #expect(request(.write, 0, big - 1).refusal(large) == nil)
        #expect(request(.write, 0, big).refusal(large)?.isFatal == true)
        #expect(request(.read, 0, big - 1).refusal(large) == nil)
        let read = request(.read, 0, big).refusal(large)
        #expect(read == NBDRefusal(.invalid, "len (33554433) is larger than max len (33554432)"))
        #expect(request(.writeZeroes, 0, 1 << 40).refusal(large) == nil)
        #expect(request(.trim, 0, 1 << 40).refusal(large) == nil)
        #expect(request(.blockStatus, 0, big, .payloadLength).refusal(session(.extended))?.isFatal == true)
    }

    @Test func `unknown commands are refused`() {
        let unknown = NBDRequest(type: 77, cookie: 0, offset: 0, length: 0)
        #expect(unknown.refusal(session()) == NBDRefusal(.invalid, "invalid request type (77) received"))
        let flagged = NBDRequest(flags: .payloadLength, type: 77, cookie: 0, offset: 0, length: 4)
        #expect(
            flagged.refusal(session(.extended))?.message == "unsupported flags for command <unknown> (got 0x20)")
    }

    @Test func `alignment is enforced, save at an unaligned end`() {
        let session = session(minimum: 512, size: 1000)
        for command in [NBDCommand.read, .write, .trim, .writeZeroes, .cache, .blockStatus] {
            #expect(request(command, 0, 512).refusal(session) == nil)
            #expect(request(command, 512, 488).refusal(session) == nil)
            #expect(request(command, 1, 511).refusal(session)?.error == .invalid)
            #expect(request(command, 0, 511).refusal(session)?.error == .invalid)
            #expect(request(command, 0, 513).refusal(session)?.error == .invalid)
        }
    }

    @Test func `block status needs a length and a context`() {
        #expect(request(.blockStatus, 0, 0).refusal(session())?.message == "need non-zero length")
        #expect(
            request(.blockStatus, 0, 1).refusal(session(contexts: []))
                == NBDRefusal(.invalid, "CMD_BLOCK_STATUS not negotiated"))
    }

    @Test func `a block status payload narrows the contexts`() throws {
        let session = session(.extended)
        func narrowed(_ length: UInt64, _ ids: [UInt32]) throws(NBDRefusal) -> (UInt64, [NBDMetaContext]) {
            let payload = bytes(length) + ids.flatMap { bytes($0) }
            let header = request(.blockStatus, 0, UInt64(payload.count), .payloadLength)
            #expect(header.refusal(session) == nil)
            let result = try header.narrowed(by: payload.span.bytes, session: session)
            return (result.request.length, result.contexts)
        }
        #expect(try narrowed(512, [2]) == (512, [.dirtyBitmap(0)]))
        #expect(try narrowed(Self.size, [2, 0]) == (Self.size, [.allocation, .dirtyBitmap(0)]))
        let invalid = NBDRefusal(.invalid, "CMD_BLOCK_STATUS payload not valid")
        for ids in [[], [1], [0, 0], [99], [0, 2, 0]] as [[UInt32]] {
            #expect(throws: invalid) { try narrowed(512, ids) }
        }
        #expect(throws: NBDRefusal(.invalid, "need non-zero length")) { try narrowed(0, [0]) }
        #expect(throws: NBDRefusal.self) { try narrowed(Self.size + 1, [0]) }
        for length in [0, 4, 8, 11, 13, 20, UInt64.max] {
            #expect(!NBDRequest.canNarrow(payloadLength: length, session))
        }
    }
}
