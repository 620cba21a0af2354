import BlockGraph
import Glibc
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@testable import BlockDrivers

@Suite struct BlkdebugDriverTests {
    /// Lines that a driver has told.
    final class Report: Sendable {
        private let list = Mutex<[String]>([])
        var lines: [String] { list.withLock { $0 } }
        @Sendable func add(_ line: String) { list.withLock { $0.append(line) } }
    }

    @GraphActor
    static func open(
        _ fixture: GraphFixture, _ configuration: BlkdebugConfiguration, image: BlockNode,
        options: NodeOptions = NodeOptions(), report: Report = Report()
    ) async throws(BlockError) -> BlockNode {
        try await fixture.graph.open(name: "debug", options: options, isOwnedByMonitor: true) {
            (node) async throws(BlockError) in
            try await BlkdebugDriver.open(configuration, in: node, image: image, report: { report.add($0) })
        }
    }

    @Test func `a rule makes requests fail, with its errno`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk(length: 1 << 16)
            let image = try await fixture.open("image", disk)
            var rule = BlkdebugInjectError(event: .pwritev)
            rule.errno = 28
            rule.ioType = .write
            rule.once = true
            var configuration = BlkdebugConfiguration()
            configuration.injectError = [rule]
            let node = try await Self.open(fixture, configuration, image: image)
            let backend = try fixture.backend(node)
            #expect(try await backend.readBytes(0..<2) == [0, 0])
            #expect(await errno { () async throws(Errno) in try await backend.writeBytes([1], at: 0) } == .ENOSPC)
            #expect(disk.bytes[0] == 0)
            try await backend.writeBytes([2], at: 0)
            #expect(disk.bytes[0] == 2)
            #expect(
                node.driver.filename(of: node)
                    == #"json:{"inject-error.0.once": true, "image": {"driver": "memory", "filename": "memory.img"}, "#
                    + #""driver": "blkdebug", "inject-error.0.iotype": "write", "#
                    + #""inject-error.0.event": "pwritev", "inject-error.0.errno": 28}"#)
        }
    }

    @Test func `rules come from a file`() async throws {
        try await GraphFixture.run { fixture in
            let directory = TemporaryDirectory()
            let name = directory.file("rules")
            try await Self.write(
                """
                [set-state]
                event = "pwritev"
                state = "1"
                new_state = "2"
                [inject-error]
                event = "pwritev"
                state = "2"
                """, to: name)
            let image = try await fixture.open("image", MemoryDisk(length: 4096))
            var configuration = BlkdebugConfiguration()
            configuration.configFile = name
            let node = try await Self.open(fixture, configuration, image: image)
            #expect(node.driver.filename(of: node) == "blkdebug:\(name):memory.img")
            let backend = try fixture.backend(node)
            try await backend.writeBytes([1], at: 0)
            #expect(await errno { () async throws(Errno) in try await backend.writeBytes([1], at: 0) } == .EIO)
            await fixture.graph.detach(backend)
            try await fixture.graph.delete(node)
            configuration.configFile = "/nonexistent"
            let text = await blockError { () async throws(BlockError) in
                _ = try await Self.open(fixture, configuration, image: image)
            }
            #expect(text == "Could not open '/nonexistent': No such file or directory")
        }
    }

    static func write(_ text: String, to name: String) async throws {
        let bytes = Array(text.utf8)
        let file = Glibc.open(name, O_WRONLY | O_CREAT, 0o600)
        #expect(Glibc.write(file, bytes, bytes.count) == bytes.count)
        Glibc.close(file)
    }

    /// What QEMU says of limits; nil where it takes them.
    @Test(
        arguments: [
            ([:], nil), (["align": 1], nil), (["align": 1000], "Cannot meet constraints with align 1000"),
            (["align": 1 << 30], nil), (["align": 1 << 31], "Cannot meet constraints with align 2147483648"),
            (["align": -1], "Value '-1' is out of range for parameter 'align'"), (["max-transfer": 1000], nil),
            (["max-transfer": -512], "Value '-512' is out of range for parameter 'max-transfer'"),
            (["align": 4096, "max-transfer": 512], "Cannot meet constraints with max-transfer 512"),
            (["align": 4096, "max-transfer": 12288], nil),
            (["align": 4096, "opt-write-zero": 512], "Cannot meet constraints with opt-write-zero 512"),
            (["align": 4096, "max-discard": 512], "Cannot meet constraints with max-discard 512"),
            (["opt-write-zero": 4096, "max-write-zero": 6144], "Cannot meet constraints with max-write-zero 6144"),
            (["opt-write-zero": 4096, "max-write-zero": 2048], "Cannot meet constraints with max-write-zero 2048"),
            (["opt-discard": 4096, "max-discard": 6144], "Cannot meet constraints with max-discard 6144"),
            (["opt-write-zero": 8192, "max-transfer": 4096], nil),
        ] as [([String: Int64], String?)])
    func `limits are checked in QEMU's words`(members: [String: Int64], refusal: String?) async {
        var configuration = BlkdebugConfiguration()
        configuration.align = members["align"]
        configuration.maxTransfer = members["max-transfer"]
        configuration.optWriteZero = members["opt-write-zero"]
        configuration.maxWriteZero = members["max-write-zero"]
        configuration.optDiscard = members["opt-discard"]
        configuration.maxDiscard = members["max-discard"]
        let fixed = configuration
        let text = await blockError { () async throws(BlockError) in _ = try fixed.limits(imageAlignment: 1) }
        #expect(text == refusal)
    }

    @Test func `random requests keep to the limits and give the right data`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        try await GraphFixture.run { fixture in
            var random = SeededGenerator(seed: seed)
            let align = Int64(1) << Int64.random(in: 0...12, using: &random)
            var configuration = BlkdebugConfiguration()
            configuration.align = align
            configuration.maxTransfer = align * 3
            configuration.optWriteZero = align * 2
            configuration.maxWriteZero = align * 6
            configuration.optDiscard = align * 2
            configuration.maxDiscard = align * 4
            var options = NodeOptions()
            options.discard = .unmap
            let size = Int(align) * 40
            let disk = MemoryDisk(random.bytes(size))
            let image = try await fixture.open("image", options: options, disk)
            let node = try await Self.open(fixture, configuration, image: image, options: options)
            let backend = try fixture.backend(node)
            var model = disk.bytes
            for _ in 0..<150 {
                let start = Int.random(in: 0..<size, using: &random)
                let end = Int.random(in: start...size, using: &random)
                let range = Int64(start)..<Int64(end)
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    let bytes = random.bytes(end - start)
                    try await backend.writeBytes(bytes, at: Int64(start))
                    model.replaceSubrange(start..<end, with: bytes)
                case 1:
                    try await backend.writeZeroes(range)
                    model.replaceSubrange(start..<end, with: [UInt8](repeating: 0, count: end - start))
                case 2:
                    let unit = Int(align) * 2
                    let (low, high) = ((start + unit - 1) / unit * unit, end / unit * unit)
                    try await backend.discard(range)
                    guard low < high else { continue }
                    model.replaceSubrange(low..<high, with: [UInt8](repeating: 0, count: high - low))
                default:
                    #expect(try await backend.readBytes(range) == Array(model[start..<end]), "seed \(seed)")
                }
            }
            #expect(disk.bytes == model, "seed \(seed)")
            for request in disk.requests where request.kind != .flush {
                #expect(request.range.isAligned(to: align), "seed \(seed): \(request)")
                let most = Int64([.read: 3, .write: 3, .zero: 6, .discard: 4][request.kind, default: 0])
                #expect(request.range.length <= align * most, "seed \(seed): \(request)")
            }
        }
    }

    @Test func `a write that fails half way leaves the rest of the disk alone`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk([UInt8](repeating: 7, count: 8192))
            let image = try await fixture.open("image", disk)
            var rule = BlkdebugInjectError(event: .none)
            rule.sector = 9
            var configuration = BlkdebugConfiguration()
            configuration.maxTransfer = 1024
            configuration.injectError = [rule]
            let node = try await Self.open(fixture, configuration, image: image)
            let backend = try fixture.backend(node)
            let error = await errno { () async throws(Errno) in
                try await backend.writeBytes([UInt8](repeating: 1, count: 8192), at: 0)
            }
            #expect(error == .EIO)
            #expect(disk.bytes[4096] == 7 && disk.bytes[0] == 1)
            #expect(await errno { () async throws(Errno) in _ = try await backend.readBytes(4608..<4609) } == .EIO)
            #expect(try await backend.readBytes(4607..<4608) == [7])
        }
    }

    @Test func `a breakpoint halts one request until it is resumed`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk(length: 4096)
            let image = try await fixture.open("image", disk)
            let report = Report()
            let node = try await Self.open(fixture, BlkdebugConfiguration(), image: image, report: report)
            let backend = try fixture.backend(node)
            let sink = try #require(node.driver.debugEventSink)
            #expect(!sink.setBreakpoint(DebugEvent(rawValue: "nope"), tag: "A"))
            #expect(!sink.resume(tag: "A"))
            #expect(!sink.removeBreakpoint(tag: "A"))
            #expect(sink.setBreakpoint(.pwritev, tag: "A"))
            let halted = Task { try await backend.writeBytes([1], at: 0) }
            await sink.waitUntilSuspended(tag: "A")
            #expect(sink.isSuspended(tag: "A") && !sink.isSuspended(tag: "B"))
            try await backend.writeBytes([2], at: 1)
            #expect(Array(disk.bytes[0..<2]) == [0, 2])
            #expect(sink.resume(tag: "A"))
            try await halted.value
            #expect(Array(disk.bytes[0..<2]) == [1, 2])
            #expect(report.lines == ["blkdebug: Suspended request 'A'", "blkdebug: Resuming request 'A'"])
        }
    }

    @Test func `removing a breakpoint lets its requests go on`() async throws {
        try await GraphFixture.run { fixture in
            let image = try await fixture.open("image", MemoryDisk(length: 4096))
            let node = try await Self.open(fixture, BlkdebugConfiguration(), image: image)
            let backend = try fixture.backend(node)
            let sink = try #require(node.driver.debugEventSink)
            #expect(sink.setBreakpoint(.readAIO, tag: "unused"))
            #expect(sink.removeBreakpoint(tag: "unused"))
            #expect(sink.setBreakpoint(.pwritev, tag: "A") && sink.setBreakpoint(.pwritev, tag: "B"))
            let first = Task { try await backend.writeBytes([1], at: 0) }
            await sink.waitUntilSuspended(tag: "B")
            #expect(!sink.isSuspended(tag: "A"))
            let second = Task { try await backend.writeBytes([2], at: 1) }
            await sink.waitUntilSuspended(tag: "A")
            // Both have been used up, so there is nothing to remove; but the requests go on.
            #expect(!sink.removeBreakpoint(tag: "A") && !sink.removeBreakpoint(tag: "B"))
            try await first.value
            try await second.value
        }
    }

    @Test func `permissions can be taken and kept from others`() async throws {
        try await GraphFixture.run { fixture in
            let image = try await fixture.open("image", MemoryDisk(length: 4096))
            var configuration = BlkdebugConfiguration()
            configuration.takeChildPermissions = .write
            configuration.unshareChildPermissions = .write
            _ = try await Self.open(fixture, configuration, image: image)
            let text = await blockError { () async throws(BlockError) in _ = try fixture.backend(image) }
            #expect(
                text == "Permission conflict on node 'image': permissions 'write' are both required by test "
                    + "(uses node 'image' as 'root' child) and unshared by node 'debug' (uses node 'image' as "
                    + "'image' child).")
        }
    }

    @Test func `raw tells its file of reads and writes`() async throws {
        try await GraphFixture.run { fixture in
            let image = try await fixture.open("image", MemoryDisk(length: 4096))
            var rule = BlkdebugInjectError(event: .readAIO)
            rule.ioType = .read
            var configuration = BlkdebugConfiguration()
            configuration.injectError = [rule]
            let debug = try await Self.open(fixture, configuration, image: image)
            let node = try await fixture.openRaw("raw", file: debug)
            let backend = try fixture.backend(node)
            try await backend.writeBytes([1], at: 0)
            #expect(await errno { () async throws(Errno) in _ = try await backend.readBytes(0..<1) } == .EIO)
        }
    }
}
