import JSON
import QAPI
import QMPSchema
import Testing

@Suite struct RoundTripTests {
    @Test func `nested options keep the order of the schema`() throws {
        let options = BlockdevOptions(
            driver: .copyBeforeWrite(
                BlockdevOptionsCbw(
                    file: .reference("disk"),
                    target: .definition(
                        BlockdevOptions(driver: .file(BlockdevOptionsFile(filename: "/t", aio: .ioUring)))),
                    bitmap: BlockDirtyBitmap(node: "disk", name: "b"), onCbwError: .breakSnapshot, cbwTimeout: 45)),
            nodeName: "cbw", discard: .unmap)
        let text = """
            {"driver": "copy-before-write", "node-name": "cbw", "discard": "unmap", "file": "disk", \
            "target": {"driver": "file", "filename": "/t", "aio": "io_uring"}, \
            "bitmap": {"node": "disk", "name": "b"}, "on-cbw-error": "break-snapshot", "cbw-timeout": 45}
            """
        #expect(options.encode().description == text)
        #expect(try BlockdevOptions(decoding: options.encodeMembers()) == options)
    }

    @Test func `a variant without members is its tag`() throws {
        let specific = BlockStatsSpecific(driver: .raw)
        #expect(specific.encode() == ["driver": "raw"])
        #expect(try BlockStatsSpecific(decoding: ["driver": "raw"]) == specific)
    }

    @Test func `a struct may hold itself`() throws {
        let limits = BlockLimitsInfo(requestAlignment: 1, maxIov: 1024, minMemAlignment: 512, optMemAlignment: 4096)
        let base = ImageInfo(filename: "base", format: "raw", virtualSize: 512, limits: limits)
        let top = ImageInfo(filename: "top", format: "qcow2", virtualSize: 512, backingImage: base)
        #expect(try ImageInfo(decoding: top.encodeMembers()) == top)
        #expect(top.backingImage?.limits?.maxIov == 1024)
    }

    @Test func `alternates take what their branches take`() throws {
        func iothreads(_ json: JSON) throws -> BlockExportIothreads {
            try BlockExportIothreads(decoding: QAPIValue(json))
        }
        #expect(try iothreads("a") == .single("a"))
        #expect(try iothreads(["a", "b"]) == .multi(["a", "b"]))
        #expect(BlockExportIothreads.multi([]).encode() == [])
    }

    @Test func `integers beyond 63 bits stay exact`() throws {
        let options = BlockdevOptionsNull(latencyNs: UInt64.max)
        #expect(options.encode() == ["latency-ns": .unsigned(UInt64.max)])
        #expect(try BlockdevOptionsNull(decoding: options.encodeMembers()) == options)
    }

    @Test func `a map has names as data`() throws {
        let bitmap = BlockDirtyInfo(count: 0, granularity: 65536, recording: true, busy: false, persistent: false)
        let map = ["b": [bitmap], "a": []]
        #expect(map.encode().description.hasPrefix(#"{"a": [], "b": [{"count": 0, "granularity": 65536,"#))
        #expect(try [String: [BlockDirtyInfo]](decoding: QAPIValue(map.encode())) == map)
    }

    @Test func `events have a name and data and come back from them`() throws {
        let event = QMPEvent.blockWriteThreshold(
            BlockWriteThresholdEvent(nodeName: "n", amountExceeded: 1, writeThreshold: 2))
        #expect(event.name == "BLOCK_WRITE_THRESHOLD")
        let data = try #require(event.data)
        #expect(JSON.object(data) == ["node-name": "n", "amount-exceeded": 1, "write-threshold": 2])
        #expect(try QMPEvent(name: event.name, data: data) == event)
        #expect(try QMPEvent(name: "NOPE", data: data) == nil)
    }

    @Test func `commands are listed from the last to the first`() {
        let names = QMPCommands.all.map(\.name)
        #expect(names.last == "job-pause")
        #expect(names.contains("query-dirty-bitmaps"))
        #expect(Set(names).count == names.count)
        #expect(QMPCommands.all.allSatisfy { !$0.allowsOutOfBand && $0.hasSuccessResponse })
    }
}

/// A server that answers every call with one value and keeps what it was asked.
private actor Recorder: QMPCaller {
    let answer: JSON
    private(set) var calls: [String] = []

    init(answer: JSON) { self.answer = answer }

    func execute(_ name: String, _ arguments: JSONObject?) async throws -> JSON {
        calls.append("\(name) \(arguments.map { JSON.object($0).description } ?? "")")
        return answer
    }
}

@Suite struct CallTests {
    @Test func `typed calls send names and arguments and decode answers`() async throws {
        let server = Recorder(answer: [:])
        try await server.blockResize(nodeName: "n", size: 512)
        try await server.quit()
        try await server.blockdevAdd(BlockdevOptions(driver: .nullCo(BlockdevOptionsNull(size: 1)), nodeName: "n"))
        #expect(
            await server.calls == [
                #"block_resize {"node-name": "n", "size": 512}"#, "quit ",
                #"blockdev-add {"driver": "null-co", "node-name": "n", "size": 1}"#,
            ])
        #expect(try await server.queryDirtyBitmaps() == [:])
        await #expect(throws: QMPError.self) { try await server.queryVersion() }
    }
}
