import BlockDrivers
import BlockGraph
import Glibc
import IOCommands
import IOLoop
import StorageTestSupport
import Synchronization
import Testing

@Suite struct CommandTests {
    @Test func `allocation is told cluster by cluster`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20, clusterSize: 65536))
            _ = await harness.io("write 64k 1k")
            _ = await harness.io("write 200k 100k")
            // Recorded of a qcow2 image.
            #expect(
                await harness.text("map") == """
                    64 KiB (0x10000) bytes not allocated at offset 0 bytes (0x0)
                    64 KiB (0x10000) bytes     allocated at offset 64 KiB (0x10000)
                    64 KiB (0x10000) bytes not allocated at offset 128 KiB (0x20000)
                    128 KiB (0x20000) bytes     allocated at offset 192 KiB (0x30000)
                    704 KiB (0xb0000) bytes not allocated at offset 320 KiB (0x50000)

                    """)
            #expect(await harness.text("alloc 0 1M") == "196608/1048576 bytes allocated at offset 0 bytes\n")
            #expect(await harness.text("alloc 65535 2") == "1/2 bytes allocated at offset 63.999 KiB\n")
        }
    }

    @Test func `an empty node has no runs`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(0))
            #expect(await harness.text("map") == "")
            #expect(await harness.text("length") == "0 bytes\n")
            #expect(await harness.text("alloc 0") == "0/0 bytes allocated at offset 0 bytes\n")
        }
    }

    @Test func `failures of the driver are told in the system's words`() async throws {
        try await onLoop { () async throws(any Error) in
            let driver = TestDriver(1 << 20)
            var options = NodeOptions()
            options.discard = .unmap
            let harness = try await Harness(driver, options: options)
            driver.fail(with: .ENOSPC)
            let reason = "failed: No space left on device\n"
            #expect(await harness.text("read 0 1k") == "read \(reason)")
            #expect(await harness.text("readv 0 1k") == "readv \(reason)")
            #expect(await harness.text("aio_read 0 1k") == "readv \(reason)")
            #expect(await harness.text("write -q 0 1k") == "write \(reason)")
            #expect(await harness.text("write -z 0 1k") == "write \(reason)")
            #expect(await harness.text("writev 0 1k") == "writev \(reason)")
            #expect(await harness.text("aio_write 0 1k") == "aio_write \(reason)")
            #expect(await harness.text("discard 0 1k") == "discard \(reason)")
            #expect(await harness.text("aio_discard 0 1k") == "aio_discard \(reason)")
            #expect(await harness.text("flush") == "")
        }
    }

    @Test func `options of writes reach the driver`() async throws {
        try await onLoop { () async throws(any Error) in
            let driver = TestDriver(1 << 20, canCompress: true)
            var options = NodeOptions()
            options.discard = .unmap
            let harness = try await Harness(driver, options: options)
            func flags(_ command: String) async -> WriteFlags {
                _ = await harness.io(command)
                return driver.state.withLock { $0.flagsOfLastWrite }
            }
            #expect(await flags("write 0 512") == [])
            #expect(await flags("write -f 0 512") == .forceUnitAccess)
            #expect(await flags("write -c 0 512") == .compressed)
            #expect(await flags("write -z 0 512") == [])
            #expect(await flags("write -zun 0 512") == [.mayUnmap, .noFallback])
            #expect(await flags("aio_write -zu 0 512") == .mayUnmap)
            #expect(await flags("writev -f 0 512 512") == .forceUnitAccess)
        }
    }

    @Test func `a write takes its data from a file, over and over`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(any Error) in
            let driver = TestDriver(4096)
            let harness = try await Harness(driver)
            let file = try await FileDescriptor.open(directory.file("source"), [.readWrite, .create])
            try await BufferPool.shared.withBuffer(count: 3) { buffer in
                buffer.bytes.copyBytes(from: Array("abc".utf8))
                try await file.writeFully(from: buffer, at: 0)
            }
            try await file.close()
            #expect(await harness.text("write -q -s \(directory.file("source")) 1 7") == "")
            #expect(driver.state.withLock { Array($0.bytes[0..<9]) } == [0] + Array("abcabca".utf8) + [0])
            #expect(await harness.text("write -q -s \(directory.file("source")) 1 2") == "")
            let missing = directory.file("none")
            #expect(await harness.text("write -s \(missing) 0 1") == "\(missing): No such file or directory\n")
            #expect(await harness.text("write -s \(directory.path) 0 1") == "\(directory.path): Is a directory\n")
            #expect(await harness.text("write -s /dev/null 0 1") == "/dev/null: file is empty\n")
        }
    }

    @Test func `commands run on an image file`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(any Error) in
            let path = directory.file("image")
            try await FileDescriptor.open(path, [.readWrite, .create]).close()
            let graph = BlockGraph()
            let printed = Printed()
            let monitor = HumanMonitor(graph: graph, print: { printed.append($0) })
            try await openFile(path, in: graph)
            #expect(await monitor.run(#"qemu-io n "truncate 64k""#) == "")
            #expect(await monitor.run(#"qemu-io n "write -P 7 4k 8k""#) == "")
            #expect(await monitor.run(#"qemu-io n "aio_read -P 7 4k 8k""#) == "")
            #expect(await monitor.run(#"qemu-io n "read -P 7 -s 4k -l 8k 0 16k""#) == "")
            #expect(await monitor.run(#"qemu-io n "read -P 0 12k 52k""#) == "")
            #expect(await monitor.run(#"qemu-io n "length""#) == "")
            #expect(
                withoutTimes(printed.take()) == """
                    wrote 8192/8192 bytes at offset 4096
                    8 KiB, 1 ops; T
                    read 8192/8192 bytes at offset 4096
                    8 KiB, 1 ops; T
                    read 16384/16384 bytes at offset 0
                    16 KiB, 1 ops; T
                    read 53248/53248 bytes at offset 12288
                    52 KiB, 1 ops; T
                    64 KiB

                    """)
            await graph.closeAll()
        }
    }

    @GraphActor
    private func openFile(_ path: String, in graph: BlockGraph) async throws {
        _ = try await graph.open(name: "n", options: NodeOptions(), isOwnedByMonitor: true) {
            node async throws(BlockError) in
            try await FileDriver.open(FileConfiguration(filename: path), in: node)
        }
    }

    @Test func `hooks do what the block graph cannot`() async throws {
        try await onLoop { () async throws(any Error) in
            let calls = Printed()
            var hooks = IOCommandHooks()
            hooks.reopen = { node, request throws(BlockError) in
                calls.append("\(node.name) \(request.isReadOnly as Any) \(request.cacheMode as Any)")
                calls.append(request.options.map { " \($0.name)=\($0.value)" }.joined())
                if request.cacheMode == .unsafe { throw BlockError("no") }
            }
            hooks.details = { _ in
                IONodeDetails(clusterSize: 65536, vmStateOffset: 1 << 29, formatSpecificLines: ["a: b"])
            }
            hooks.raiseSignal = { calls.append("signal \($0)") }
            let harness = try await Harness(TestDriver(512), hooks: hooks)
            #expect(
                await harness.io("reopen -r -c none -o a=1,b=2,,3,c -o d=") == (
                    "", "warning: short-form boolean option 'c' deprecated\r\nPlease use c=on instead\r\n"
                ))
            #expect(
                calls.take() == "n Optional(true) Optional(IOCommands.IOReopenRequest.CacheMode.none) a=1 b=2,3 c=on d="
            )
            #expect(await harness.io("reopen -c unsafe") == ("", "no\r\n"))
            #expect(calls.take() == "n nil Optional(IOCommands.IOReopenRequest.CacheMode.unsafe)")
            let names = "format name: file\nformat name: file\n"
            #expect(
                await harness.io("info") == (
                    "\(names)cluster size: 64 KiB\nvm state offset: 512 MiB\n",
                    "Format specific information:\r\n    a: b\r\n"
                ))
            #expect(await harness.io("sigraise 10") == ("", ""))
            #expect(await harness.io("abort") == ("", ""))
            #expect(calls.take() == "signal 10signal \(SIGABRT)")
        }
    }

    @Test func `without hooks a command says that it is not supported`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(512))
            for command in ["reopen -r", "abort", "sigraise 9"] {
                #expect(await harness.io(command) == ("", "Operation not supported\r\n"))
            }
        }
    }

    @Test func `a program has commands that a monitor has not`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(512))
            let backend = try await harness.graph.attach("x", to: harness.node, permissions: PermissionPair())
            let output = IOCommandOutput(
                print: { harness.printed.append($0) }, report: { harness.printed.append("report \($0)\n") })
            let interpreter = IOCommandInterpreter(backend: backend, host: .program, output: output)
            #expect(await interpreter.run("q x") == .quit)
            #expect(await interpreter.run("length") == .success)
            #expect(await interpreter.run("read 0 1k") == .failure)
            #expect(await interpreter.run("open y") == .failure)
            #expect(await interpreter.run("help quit") == .success)
            #expect(
                harness.printed.take() == """
                    512 bytes
                    read failed: Input/output error
                    report Operation not supported
                    quit -- exit the program

                    """)
            await harness.graph.detach(backend)
        }
    }
}
