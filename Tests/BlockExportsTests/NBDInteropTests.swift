import BlockExports
import BlockGraph
import Foundation
import IOLoop
import NBDProtocol
import StorageTestSupport
import Synchronization
import Testing

/// Clients that others wrote, against the server in this process.
@Suite struct NBDInteropTests {
    static let size = 4 << 20

    /// An export of 4 MiB with data in some places and a bitmap that knows of them.
    func run(_ body: @escaping @Sendable (NBDFixture, String) async throws -> Void) async throws {
        try await NBDFixture.run(
            size: Self.size,
            configure: { node, options in
                options.isWritable = true
                options.description = "a disk"
                options.allocationDepth = true
                options.bitmaps = [.name("b")]
                _ = try? node.bitmaps.add(name: "b", length: node.length, granularity: 65536)
            },
            { fixture in
                let writer = try await NBDTestClient.open(fixture.path)
                var random = SeededGenerator(seed: 5)
                for offset in [65536, 1 << 20, (3 << 20) + 4096] {
                    _ = try await writer.call(.write, UInt64(offset), 8192, payload: random.bytes(8192))
                }
                try await body(fixture, "nbd+unix:///disk?socket=\(fixture.path)")
            })
    }

    func bytes(_ fixture: NBDFixture) -> [UInt8] { fixture.driver.state.withLock { $0.bytes } }

    func file(_ name: String, _ fixture: NBDFixture) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture.directory.file(name))))
    }

    static let map = """
                 0       65536    3  hole,zero
             65536        8192    0  data
             73728      974848    3  hole,zero
           1048576        8192    0  data
           1056768     2093056    3  hole,zero
           3149824        8192    0  data
           3158016     1036288    3  hole,zero
        """

    @Test(.enabled(if: ExternalTool.nbdinfo.isInstalled, "needs nbdinfo: apt-get install libnbd-bin"))
    func `nbdinfo describes the export`() async throws {
        try await run { fixture, uri in
            let json = try await ExternalTool.nbdinfo.check(["--json", uri], in: fixture.directory.path)
            for field in [
                "\"export-name\": \"disk\"", "\"description\": \"a disk\"", "\"export-size\": 4194304",
                "\"is_read_only\": false", "\"can_cache\": true", "\"can_df\": true", "\"can_fast_zero\": true",
                "\"can_flush\": true", "\"can_fua\": true", "\"can_multi_conn\": true", "\"can_trim\": true",
                "\"can_zero\": true", "\"block_size_minimum\": 1", "\"block_size_preferred\": 4096",
                "\"block_size_maximum\": 33554432", "\"base:allocation\"", "\"qemu:allocation-depth\"",
                "\"qemu:dirty-bitmap:b\"",
            ] {
                #expect(json.contains(field), "\(field) in \(json)")
            }
            let list = try await ExternalTool.nbdinfo.check(
                ["--list", "nbd+unix:///?socket=\(fixture.path)"], in: fixture.directory.path)
            #expect(list.contains("export=\"disk\""))
        }
    }

    @Test(.enabled(if: ExternalTool.nbdinfo.isInstalled, "needs nbdinfo: apt-get install libnbd-bin"))
    func `nbdinfo maps allocation, depth and bitmaps`() async throws {
        try await run { fixture, uri in
            try await Self.checkMaps(ExternalTool.nbdinfo, fixture, uri)
        }
    }

    @Test(.enabled(if: ExternalTool.newNbdinfo.isInstalled, "needs the reference programs"))
    func `a client with extended headers sees the same maps`() async throws {
        try await run { fixture, uri in
            try await Self.checkMaps(ExternalTool.newNbdinfo, fixture, uri)
            let text = try await ExternalTool.newNbdinfo.check([uri], in: fixture.directory.path)
            #expect(text.contains("extended packets"), "\(text)")
        }
    }

    private static func checkMaps(_ tool: ExternalTool, _ fixture: NBDFixture, _ uri: String) async throws {
        let allocation = try await tool.check(["--map", uri], in: fixture.directory.path)
        #expect(words(allocation) == words(map))
        let depth = try await tool.check(["--map=qemu:allocation-depth", uri], in: fixture.directory.path)
        #expect(words(depth).starts(with: ["0", "65536", "0", "absent", "65536", "8192", "1", "local"]))
        let dirty = try await tool.check(["--map=qemu:dirty-bitmap:b", uri], in: fixture.directory.path)
        #expect(words(dirty).starts(with: ["0", "65536", "0", "clean", "65536", "65536", "1", "dirty"]))
    }

    private static func words(_ text: String) -> [Substring] { text.split { $0 == " " || $0 == "\n" } }

    @Test(
        .enabled(if: ExternalTool.nbdcopy.isInstalled, "needs nbdcopy: apt-get install libnbd-bin"),
        arguments: [ExternalTool.nbdcopy, .newNbdcopy].filter(\.isInstalled))
    func `nbdcopy copies out and in`(tool: ExternalTool) async throws {
        try await run { fixture, uri in
            let directory = fixture.directory.path
            _ = try await tool.check([uri, "copy.raw"], in: directory)
            #expect(try file("copy.raw", fixture) == bytes(fixture))
            var random = SeededGenerator(seed: 9)
            var content = [UInt8](repeating: 0, count: Self.size)
            content.replaceSubrange(200_000..<300_000, with: random.bytes(100_000))
            try Data(content).write(to: URL(fileURLWithPath: fixture.directory.file("in.raw")))
            _ = try await tool.check(["--destination-is-zero", "--connections=4", "in.raw", uri], in: directory)
            _ = try await tool.check(["--flush", "in.raw", uri], in: directory)
            #expect(bytes(fixture) == content)
        }
    }

    @Test(.enabled(if: ExternalTool.qemuImg.isInstalled, "needs qemu-img: apt-get install qemu-utils"))
    func `qemu-img converts, compares and maps`() async throws {
        try await run { fixture, uri in
            let directory = fixture.directory.path
            let tool = ExternalTool.qemuImg
            _ = try await tool.check(["convert", "-O", "raw", uri, "copy.raw"], in: directory)
            #expect(try file("copy.raw", fixture) == bytes(fixture))
            _ = try await tool.check(["compare", "-f", "raw", "-F", "raw", "copy.raw", uri], in: directory)
            let map = try await tool.check(["map", "--output=json", uri], in: directory)
            #expect(
                map.contains(
                    "{ \"start\": 65536, \"length\": 8192, \"depth\": 0, \"present\": true, \"zero\": false, \"data\": true"
                ))
            var random = SeededGenerator(seed: 10)
            var content = [UInt8](repeating: 0, count: Self.size)
            content.replaceSubrange(1_000_000..<1_100_000, with: random.bytes(100_000))
            try Data(content).write(to: URL(fileURLWithPath: fixture.directory.file("in.raw")))
            _ = try await tool.check(["convert", "-n", "-f", "raw", "-O", "raw", "in.raw", uri], in: directory)
            #expect(bytes(fixture) == content)
        }
    }

    @Test(.enabled(if: ExternalTool.qemuIO.isInstalled, "needs qemu-io: apt-get install qemu-utils"))
    func `qemu-io writes, zeroes, discards and reads back`() async throws {
        try await run { fixture, uri in
            let output = try await ExternalTool.qemuIO.check(
                [
                    "-f", "raw", "-c", "write -P 0x5a 1000 70000", "-c", "write -z 20000 1000", "-c", "flush", "-c",
                    "read -P 0x5a 1000 19000", "-c", "read -P 0 20000 1000", "-c", "read -P 0x5a 21000 50000", "-c",
                    "discard 0 65536", "-c", "write -f -P 3 0 512", "-c", "read -P 3 0 512", uri,
                ], in: fixture.directory.path)
            #expect(!output.contains("failed"), "\(output)")
        }
    }

    @Test(.enabled(if: ExternalTool.hasFioEngine, "needs fio with its NBD engine: apt-get install fio"))
    func `fio verifies what it wrote`() async throws {
        try await run { fixture, uri in
            let output = try await ExternalTool.fio.check(
                [
                    "--name=t", "--ioengine=nbd", "--uri=\(uri)", "--rw=randwrite", "--bs=4k", "--iodepth=32",
                    "--size=4m", "--verify=crc32c", "--do_verify=1", "--numjobs=1",
                ], in: fixture.directory.path)
            #expect(output.contains("err= 0"), "\(output)")
        }
    }

    private static let script = """
        import nbd, sys
        h = nbd.NBD()
        h.add_meta_context("base:allocation")
        h.add_meta_context("qemu:dirty-bitmap:b")
        h.set_handshake_flags(nbd.HANDSHAKE_FLAG_MASK)
        h.connect_uri(sys.argv[1])
        assert h.get_size() == 4194304 and h.get_structured_replies_negotiated()
        assert h.can_meta_context("qemu:dirty-bitmap:b")
        chunks = []
        def chunk(data, offset, status, err):
            chunks.append((offset, len(data), status))
            return 0
        h.pread_structured(262144, 0, chunk)
        assert chunks == [(0, 65536, nbd.READ_HOLE), (65536, 8192, nbd.READ_DATA), (73728, 188416, nbd.READ_HOLE)], chunks
        chunks.clear()
        h.pread_structured(262144, 0, chunk, nbd.CMD_FLAG_DF)
        assert chunks == [(0, 262144, nbd.READ_DATA)], chunks
        seen = {}
        def extent(context, offset, entries, err):
            seen[context] = entries
            return 0
        h.block_status(131072, 0, extent)
        assert seen["base:allocation"] == [65536, 3, 8192, 0, 57344, 3], seen
        assert seen["qemu:dirty-bitmap:b"] == [65536, 0, 65536, 1], seen
        h.block_status(131072, 0, extent, nbd.CMD_FLAG_REQ_ONE)
        assert seen["base:allocation"] == [65536, 3], seen
        done = []
        for i in range(100):
            h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i]) * 4096), i * 4096, lambda err, i=i: done.append(i) or 1)
        while h.aio_in_flight() > 0: h.poll(-1)
        assert sorted(done) == list(range(100))
        for i in range(100): assert h.pread(4096, i * 4096) == bytes([i]) * 4096
        h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA); h.trim(4096, 4096); h.cache(4096, 0); h.flush()
        h.set_strict_mode(0)
        for call in (lambda: h.pread(2, 4194303), lambda: h.pwrite(b"ab", 4194303)):
            try: call(); assert False
            except nbd.Error as e: errors = e.errnum
        assert errors == 28, errors
        h.shutdown()
        print("done")
        """

    @Test(.enabled(if: ExternalTool.hasPythonLibnbd, "needs libnbd for Python: apt-get install python3-libnbd"))
    func `libnbd agrees call by call`() async throws {
        try await run { fixture, uri in
            let output = try await ExternalTool.python.check(["-c", Self.script, uri], in: fixture.directory.path)
            #expect(output == "done\n")
        }
    }
}
