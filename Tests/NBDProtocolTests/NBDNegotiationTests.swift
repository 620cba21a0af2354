import NBDProtocol
import Testing

@Suite struct NBDNegotiationTests {
    let disk = NBDExportInfo(name: "disk", description: "hello", size: 1 << 20, isWritable: true)
    let qcow = NBDExportInfo(
        name: "q", size: 1 << 20, isWritable: true, allocationDepth: true, bitmaps: ["bm0", "bm1"])
    let readOnly = NBDExportInfo(name: "ro", size: 1 << 20)
    let direct = NBDExportInfo(name: "direct", size: 1 << 20, isWritable: true, minimumBlock: 512)

    var exports: [NBDExportInfo] { [disk, qcow, readOnly, direct] }

    func started(_ flags: UInt32 = 3) -> NBDNegotiation {
        var negotiation = NBDNegotiation()
        _ = negotiation.handle(.flags(flags), exports: [])
        return negotiation
    }

    /// The replies to options in order on one connection, and the last step.
    func run(_ options: [(NBDOption, [UInt8])], flags: UInt32 = 3) -> ([OptionReply], NBDNegotiation.Next) {
        var negotiation = started(flags)
        var all: [OptionReply] = []
        var next = NBDNegotiation.Next.option
        for (code, data) in options {
            let step = negotiation.handle(.option(code.rawValue, data: data), exports: exports)
            all += replies(step.reply)
            next = step.next
        }
        return (all, next)
    }

    func error(_ code: NBDOption, _ data: [UInt8], structured: Bool = false) -> (NBDOptionReplyType?, String) {
        let last = run((structured ? [(.structuredReply, [])] : []) + [(code, data)]).0.last
        return (last.flatMap { NBDOptionReplyType(rawValue: $0.type) }, last?.text ?? "")
    }

    @Test func `the greeting is fixed newstyle without zeroes`() {
        #expect(NBD.greeting == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
    }

    @Test func `go tells description, block size and export, and enters transmission`() {
        let (all, next) = run([(.go, goData("disk", [.blockSize]))])
        #expect(all.map(\.type) == [3, 3, 3, 1])
        #expect(all[0].data == [0, 2] + Array("hello".utf8))
        #expect(all[1].data == [0, 3] + bytes(UInt32(1)) + bytes(UInt32(4096)) + bytes(UInt32(32 << 20)))
        #expect(all[2].data == [0, 0] + bytes(UInt64(1 << 20)) + bytes(UInt16(0x0d6d)))
        #expect(next == .transmission(NBDSession(export: disk)))
    }

    @Test func `the name is told when asked for`() {
        let (all, next) = run([(.info, goData("q", [.name]))])
        #expect(all.first?.data == [0, 1] + Array("q".utf8))
        #expect(next == .option)
    }

    @Test func `transmission flags follow the export and the headers`() {
        #expect(readOnly.transmissionFlags(.simple).rawValue == 0x050f)
        #expect(disk.transmissionFlags(.structured).rawValue == 0x0ded)
        #expect(disk.transmissionFlags(.extended).rawValue == 0x1ded)
    }

    @Test func `a block size beyond one binds only a client that asked for it`() {
        let (asked, next) = run([(.go, goData("direct", [.blockSize]))])
        #expect(asked[0].data.prefix(6) == [0, 3, 0, 0, 2, 0])
        #expect(next == .transmission(NBDSession(export: direct, minimumBlock: 512)))
        let (plain, second) = run([(.go, goData("direct"))])
        #expect(plain[0].data.prefix(6) == [0, 3, 0, 0, 0, 1])
        #expect(second == .transmission(NBDSession(export: direct, minimumBlock: 1)))
        #expect(
            error(.info, goData("direct")) == (.blockSizeRequired, "request NBD_INFO_BLOCK_SIZE to use this export"))
    }

    @Test func `list names each export with its description`() {
        let (all, _) = run([(.list, [])])
        #expect(all.map(\.type) == [2, 2, 2, 2, 1])
        #expect(all[0].data == [0, 0, 0, 4] + Array("diskhello".utf8))
    }

    @Test func `export name answers with or without padding`() {
        var negotiation = started(1)
        let padded = negotiation.handle(.option(1, data: Array("disk".utf8)), exports: exports)
        #expect(padded.reply == bytes(UInt64(1 << 20)) + bytes(UInt16(0x0d6d)) + [UInt8](repeating: 0, count: 124))
        negotiation = started(3)
        let short = negotiation.handle(.option(1, data: Array("disk".utf8)), exports: exports)
        #expect(short.reply.count == 10)
        #expect(short.next == .transmission(NBDSession(export: disk)))
        #expect(run([(.exportName, Array("nope".utf8))]).1 == .close("export not found"))
        #expect(run([(.exportName, [UInt8](repeating: 65, count: 4097))]).1 == .close("Bad length received"))
    }

    @Test func `without fixed newstyle only export name works`() {
        #expect(run([(.list, [])], flags: 0).1 == .close("Unsupported option 3 (list)"))
        #expect(run([(.exportName, Array("disk".utf8))], flags: 0).1 == .transmission(NBDSession(export: disk)))
    }

    @Test func `abort is acknowledged, with data or without`() {
        for data in [[], [1, 2]] as [[UInt8]] {
            let (all, next) = run([(.abort, data)])
            #expect(all == [OptionReply(option: 2, type: 1, data: [])])
            #expect(next == .close(nil))
        }
    }

    @Test func `unknown options are answered and negotiation goes on`() {
        var negotiation = started()
        for code in [0, 4, 12, 77, UInt32.max] {
            let step = negotiation.handle(.option(code, data: [1, 2, 3]), exports: exports)
            #expect(replies(step.reply).last?.type == NBDOptionReplyType.unsupported.rawValue)
            #expect(replies(step.reply).last?.text == "Unsupported option \(code) (<unknown>)")
            #expect(step.next == .option)
        }
    }

    @Test func `errors have the texts that clients know`() {
        #expect(error(.list, [0]) == (.invalid, "option 'list' has unexpected length"))
        #expect(error(.startTLS, []) == (.policy, "TLS not configured"))
        #expect(error(.startTLS, [0]) == (.invalid, "option 'starttls' has unexpected length"))
        #expect(error(.go, goData("nope")) == (.unknown, "export 'nope' not present"))
        #expect(error(.go, goData("")) == (.unknown, "export '' not present"))
        #expect(error(.info, [1, 2, 3]) == (.invalid, "Inconsistent lengths in option info"))
        #expect(error(.info, bytes(UInt32(100)) + [65]) == (.invalid, "Inconsistent lengths in option info"))
        #expect(error(.info, goData("disk") + [0]) == (.invalid, "option 'info' has unexpected length"))
        #expect(error(.go, goData("di\0k")) == (.invalid, "Unexpected embedded NUL in option go"))
        let long = String(repeating: "a", count: 4096)
        #expect(error(.go, goData(long + "a")) == (.invalid, "Invalid name length: 4097"))
        #expect(error(.go, goData(long)) == (.unknown, "export '\(long.prefix(80))...' not present"))
        #expect(
            error(.setMetaContext, metaData("q", ["base:"]))
                == (.invalid, "request option 'set meta context' when structured reply is not negotiated"))
    }

    @Test func `structured replies and extended headers are negotiated once and in order`() {
        #expect(
            run([(.structuredReply, []), (.structuredReply, [])]).0.last?.text == "structured reply already negotiated")
        #expect(
            run([(.extendedHeaders, []), (.extendedHeaders, [])]).0.last?.text == "extended headers already negotiated")
        let (late, _) = run([(.extendedHeaders, []), (.structuredReply, [])])
        #expect(late.last?.type == NBDOptionReplyType.extendedHeaderRequired.rawValue)
        let (_, next) = run([(.structuredReply, []), (.extendedHeaders, []), (.go, goData("disk"))])
        #expect(next == .transmission(NBDSession(export: disk, headers: .extended)))
    }

    @Test(arguments: [
        ([], ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:bm0", "qemu:dirty-bitmap:bm1"]),
        (["base:"], ["base:allocation"]),
        (["qemu:"], ["qemu:allocation-depth", "qemu:dirty-bitmap:bm0", "qemu:dirty-bitmap:bm1"]),
        (["qemu:dirty-bitmap:"], ["qemu:dirty-bitmap:bm0", "qemu:dirty-bitmap:bm1"]),
        (["qemu:dirty-bitmap:bm1", "base:allocation"], ["base:allocation", "qemu:dirty-bitmap:bm1"]),
        (["base:foo", "foo:bar", "nocolon", "", ":", "qemu:dirty-bitmap:nope", "BASE:allocation"], []),
    ])
    func `listing contexts takes wildcards`(queries: [String], expected: [String]) {
        for structured in [false, true] {
            let first: [(NBDOption, [UInt8])] = structured ? [(.structuredReply, [])] : []
            let (all, _) = run(first + [(.listMetaContext, metaData("q", queries))])
            let names = all.filter { $0.type == 4 }.map { String(decoding: $0.data.dropFirst(4), as: UTF8.self) }
            #expect(names == expected)
            #expect(all.allSatisfy { $0.type != 4 || $0.data.starts(with: [0, 0, 0, 0]) })
            #expect(all.last?.type == 1)
        }
    }

    @Test func `setting contexts takes exact names, once each, in order of ids`() {
        let queries = ["qemu:", "qemu:dirty-bitmap:bm1", "base:allocation", "base:", "base:allocation"]
        let (all, next) = run([
            (.structuredReply, []), (.setMetaContext, metaData("q", queries)), (.go, goData("q")),
        ])
        let contexts = all.filter { $0.type == 4 }
        #expect(contexts.map { Array($0.data.prefix(4)) } == [[0, 0, 0, 0], [0, 0, 0, 3]])
        #expect(
            next
                == .transmission(
                    NBDSession(export: qcow, headers: .structured, contexts: [.allocation, .dirtyBitmap(1)])))
    }

    @Test func `contexts of another export, or before a failed set, do not count`() {
        let set = metaData("q", ["base:allocation"])
        let (_, other) = run([(.structuredReply, []), (.setMetaContext, set), (.go, goData("disk"))])
        #expect(other == .transmission(NBDSession(export: disk, headers: .structured)))
        let (_, failed) = run([
            (.structuredReply, []), (.setMetaContext, set), (.setMetaContext, set + [0]), (.go, goData("q")),
        ])
        #expect(failed == .transmission(NBDSession(export: qcow, headers: .structured)))
        let (_, listed) = run([
            (.structuredReply, []), (.setMetaContext, set), (.listMetaContext, metaData("q", [])), (.go, goData("q")),
        ])
        #expect(listed == .transmission(NBDSession(export: qcow, headers: .structured, contexts: [.allocation])))
    }

    @Test func `malformed context queries are refused`() {
        for code in [NBDOption.listMetaContext, .setMetaContext] {
            let text = "Inconsistent lengths in option \(code.name)"
            let good = metaData("q", ["base:"])
            #expect(error(code, good.dropLast(), structured: true) == (.invalid, text))
            #expect(error(code, good + [0], structured: true) == (.invalid, text))
            #expect(error(code, [0, 0], structured: true) == (.invalid, text))
            #expect(error(code, bytes(UInt32(48)) + [65, 66], structured: true) == (.invalid, text))
            #expect(error(code, metaData("nope", []), structured: true) == (.unknown, "export 'nope' not present"))
            #expect(
                error(code, metaData("q", ["base:\0"]), structured: true)
                    == (.invalid, "Unexpected embedded NUL in option \(code.name)"))
            let long = String(repeating: "x", count: 4097)
            #expect(error(code, metaData("q", [long]), structured: true) == (.ack, ""))
        }
    }
}
