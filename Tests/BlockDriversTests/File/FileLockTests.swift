import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

/// Image locks, and opening for writing late.
@Suite struct FileLockTests {
    private static let writer = PermissionPair(used: [.consistentRead, .write], shared: .consistentRead)
    private static let reader = PermissionPair(used: .consistentRead, shared: [.consistentRead, .writeUnchanged])

    @Test func `two graphs refuse each other's images`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.makeFile("disk", pattern(512, 1))
            let graphs = [BlockGraph(), BlockGraph()]
            let nodes = [
                try await graphs[0].openFile(path, isOwnedByMonitor: true),
                try await graphs[1].openFile(path, isOwnedByMonitor: true),
            ]
            let first = try await graphs[0].attachWriter(nodes[0], permissions: Self.writer)
            func refusal(_ pair: PermissionPair) async -> String? {
                await failure { () async throws(BlockError) in
                    _ = try await graphs[1].attachWriter(nodes[1], permissions: pair)
                }?.description
            }
            let before = await graphs[1].picture
            var text = await refusal(Self.writer)
            #expect(text == "Failed to get \"write\" lock")
            text = await refusal(Self.reader)
            #expect(text == "Failed to get shared \"write\" lock")
            let after = await graphs[1].picture
            #expect(after == before)
            // Less is more: a reader who lets others write.
            try await graphs[0].setPermissions(Self.reader, of: first)
            let second = try await graphs[1].attachWriter(nodes[1], permissions: Self.reader)
            text = await failure { () async throws(BlockError) in
                try await graphs[0].setPermissions(Self.writer, of: first)
            }?.description
            #expect(text == "Failed to get \"write\" lock")
            await graphs[1].detach(second)
            try await graphs[0].setPermissions(Self.writer, of: first)
            await graphs[0].detach(first)
            let third = try await graphs[1].attachWriter(nodes[1], permissions: Self.writer)
            await graphs[1].detach(third)
            for graph in graphs { await graph.closeAll() }
            #expect(openFiles(below: directory.path) == [])
        }
    }

    @Test func `locking off and force-share take no locks`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.makeFile("disk", pattern(512, 1))
            let graph = BlockGraph()
            let holder = try await graph.attachWriter(try await graph.openFile(path), permissions: Self.writer)
            let shared = try await graph.openFile(
                path,
                options: .with {
                    $0.forceShare = true
                    $0.isReadOnly = true
                })
            let reader = try await graph.attachWriter(shared, permissions: Self.reader)
            let unlocked = try await graph.openFile(path, locking: .off)
            let writer = try await graph.attachWriter(unlocked, permissions: Self.writer)
            for user in [holder, reader, writer] { await graph.detach(user) }
        }
    }

    @Test func `QEMU's programs and this one refuse each other's images`() async throws {
        let directory = FileSystemDirectory(.disk)
        let path = directory.makeFile("disk", pattern(65536, 1))
        let output = "\(directory.path)/out"
        for program in installedPrograms("qemu-io") {
            try await onLoop { () async throws(any Error) in
                let graph = BlockGraph()
                let node = try await graph.openFile(path, isOwnedByMonitor: true)
                let user = try await graph.attachWriter(node, permissions: Self.writer)
                let write = run([program, "-f", "raw", "-c", "write 0 512", path], output: output)
                #expect(write.status != 0 && write.output.contains("Failed to get \"write\" lock"), "\(write)")
                // Over raw images, QEMU's readers let others write.
                let read = run([program, "-r", "-f", "raw", "-c", "read 0 512", path], output: output)
                #expect(read.status == 0, "\(read)")
                let force = run([program, "-r", "-U", "-f", "raw", "-c", "read 0 512", path], output: output)
                #expect(force.status == 0, "\(force)")
                try await graph.setPermissions(PermissionPair(used: .write, shared: []), of: user)
                let denied = run([program, "-r", "-f", "raw", "-c", "read 0 512", path], output: output)
                #expect(
                    denied.status != 0 && denied.output.contains("Failed to get \"consistent read\" lock"), "\(denied)")
                await graph.detach(user)
                let later = run([program, "-f", "raw", "-c", "write -P 5 0 512", path], output: output)
                #expect(later.status == 0, "\(later)")
                let bytes = try await node.bytes(0..<512)
                #expect(bytes == pattern(512, 5))
                await graph.closeAll()
            }
        }
    }

    @Test func `an image that QEMU holds is refused`() async throws {
        let directory = FileSystemDirectory(.disk)
        let path = directory.makeFile("disk", pattern(65536, 1))
        for program in installedPrograms("qemu-io") {
            // The program reads its commands from a pipe, which the test keeps open.
            let pipe = popen("\(program) -f raw \(path) > /dev/null 2>&1", "w")
            defer { pclose(pipe) }
            fputs("write -P 9 0 512\n", pipe)
            fflush(pipe)
            while contents(path).first != 9 { usleep(10_000) }
            try await onLoop { () async throws(any Error) in
                let graph = BlockGraph()
                let node = try await graph.openFile(path, isOwnedByMonitor: true)
                let write = await failure { () async throws(BlockError) in
                    _ = try await graph.attachWriter(node, permissions: Self.writer)
                }
                // It lets others write, and does itself.
                #expect(write?.description == "Failed to get shared \"write\" lock")
                let read = await failure { () async throws(BlockError) in
                    _ = try await graph.attachWriter(node, permissions: Self.reader)
                }
                #expect(read?.description == "Failed to get shared \"write\" lock")
                await graph.closeAll()
            }
            fputs("write -P 0 0 512\nquit\n", pipe)
            fflush(pipe)
        }
    }

    /// Whether the process has the file open for writing, leaving out descriptors that only hold locks.
    private func isOpenForWriting(_ path: String) -> Bool {
        openDescriptors(below: path).contains { fcntl($0.number, F_GETFL) & O_ACCMODE == O_RDWR }
    }

    @Test func `auto-read-only opens for writing with the first writer`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.makeFile("disk", pattern(512, 1))
            let graph = BlockGraph()
            let node = try await graph.openFile(
                path, options: .with { $0.isAutoReadOnly = true }, isOwnedByMonitor: true)
            let reader = try await graph.attachWriter(node, permissions: PermissionPair(used: .consistentRead))
            #expect(!isOpenForWriting(path))
            // One who is refused does not count.
            let other = BlockGraph()
            let holder = try await other.attachWriter(
                try await other.openFile(path), permissions: PermissionPair(used: [], shared: .consistentRead))
            let refused = await failure { () async throws(BlockError) in _ = try await graph.attachWriter(node) }
            #expect(refused?.description == "Failed to get \"write\" lock")
            await other.detach(holder)
            #expect(!isOpenForWriting(path))
            let writer = try await graph.attachWriter(node)
            #expect(isOpenForWriting(path))
            try await writer.write([9], at: 0)
            let bytes = try await reader.bytes(0..<1)
            #expect(bytes == [9])
            await graph.detach(writer)
            await graph.detach(reader)
            await graph.closeAll()
            #expect(openFiles(below: directory.path) == [])
        }
    }

    @Test func `reopening changes what the file is opened for, and leaves no descriptor behind`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.makeFile("disk", pattern(8192, 1))
            let graph = BlockGraph()
            let node = try await graph.openFile(path, options: .with { $0.isReadOnly = true }, isOwnedByMonitor: true)
            let count = openFiles(below: directory.path).count
            for round in 0..<5 {
                try await graph.reopenFile(node, options: .with { $0.cacheDirect = round % 2 == 0 })
                #expect(isOpenForWriting(path))
                #expect((node.driver.limits.requestAlignment > 1) == (round % 2 == 0))
                let user = try await graph.attachWriter(node)
                try await user.write([UInt8(round)], at: 3)
                let bytes = try await user.bytes(2..<4)
                #expect(bytes == [1, UInt8(round)])
                let denied = await failure { () async throws(BlockError) in
                    try await graph.reopenFile(node, options: .with { $0.isReadOnly = true })
                }
                #expect(denied != nil)
                await graph.detach(user)
                try await graph.reopenFile(node, options: .with { $0.isReadOnly = true })
                #expect(!isOpenForWriting(path))
                #expect(openFiles(below: directory.path).count == count)
            }
            await graph.closeAll()
            #expect(openFiles(below: directory.path) == [])
        }
    }
}
