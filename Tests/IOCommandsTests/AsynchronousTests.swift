import BlockGraph
import IOCommands
import IOLoop
import StorageTestSupport
import Testing

@Suite struct AsynchronousTests {
    @Test func `a request waits at a breakpoint until it is resumed`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20, sink: TestEventSink()))
            #expect(await harness.io("break read_aio A") == ("", ""))
            #expect(await harness.io("aio_read 0 4k") == ("", ""))
            #expect(await harness.io("wait_break A") == ("", ""))
            #expect(await harness.text("read 0 1k") == "read 1024/1024 bytes at offset 0\n1 KiB, 1 ops; T\n")
            #expect(await harness.io("resume B") == ("Could not resume request: No such file or directory\n", ""))
            #expect(await backendCount(harness) == 1)
            // The report may be there when `resume` returns, or later.
            let (printed, reply) = await harness.io("resume A")
            await harness.monitor.waitUntilIdle()
            let report = withoutTimes(printed + harness.printed.take())
            #expect(report == "read 4096/4096 bytes at offset 0\n4 KiB, 1 ops; T\n")
            #expect(reply == "")
            #expect(await backendCount(harness) == 0)
        }
    }

    @Test func `a breakpoint that is gone holds nothing back`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20, sink: TestEventSink()))
            let report = "read 1024/1024 bytes at offset 0\n1 KiB, 1 ops; T\n"
            #expect(await harness.text("aio_read 0 1k") == report)
            #expect(await harness.io("break pwritev A") == ("", ""))
            #expect(await harness.io("remove_break A") == ("", ""))
            #expect(await harness.text("aio_read 0 1k") == report)
            _ = await harness.io("break read_aio A")
            _ = await harness.io("aio_read 0 1k")
            _ = await harness.io("wait_break A")
            _ = await harness.io("resume A")
            await harness.monitor.waitUntilIdle()
            _ = harness.printed.take()
            #expect(await harness.text("aio_read 0 1k") == report)
        }
    }

    @Test func `aio_flush returns when the requests of all commands have come back`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20, sink: TestEventSink()))
            _ = await harness.io("break read_aio A")
            _ = await harness.io("aio_read 0 4k")
            _ = await harness.io("wait_break A")
            let flushing = Task(executorPreference: IOLoop.required) {
                await harness.monitor.run(#"qemu-io n "aio_flush""#)
            }
            let (printed, reply) = await harness.io("remove_break A")
            #expect(await flushing.value == "")
            let report = withoutTimes(printed + harness.printed.take())
            #expect(report == "read 4096/4096 bytes at offset 0\n4 KiB, 1 ops; T\n")
            #expect(reply == "")
            await harness.monitor.waitUntilIdle()
        }
    }

    @Test func `without breakpoints a request has come back when its command returns`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20))
            let report = "1024/1024 bytes at offset 0\n1 KiB, 1 ops; T\n"
            #expect(await harness.text("aio_write -P 3 0 1k") == "wrote \(report)")
            #expect(await harness.text("aio_read -P 3 0 512 512") == "read \(report)")
            #expect(await harness.text("aio_discard 0 1k") == "discarded  \(report)")
            #expect(await harness.text("aio_flush") == "")
            #expect(await backendCount(harness) == 0)
        }
    }

    @Test func `breakpoints are those of the nearest node below that has them`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(512, sink: TestEventSink()))
            #expect(await harness.io("break read_aio A") == ("", ""))
            #expect(await harness.io("break nosuch A") == ("Could not set breakpoint: No such file or directory\n", ""))
            #expect(await harness.io("remove_break A") == ("", ""))
            #expect(
                await harness.io("remove_break A") == ("Could not remove breakpoint A: No such file or directory\n", "")
            )
        }
    }

    @Test func `a node without breakpoints says so`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(512))
            let reason = ": Operation not supported\n"
            #expect(await harness.io("break pwritev A") == ("Could not set breakpoint\(reason)", ""))
            #expect(await harness.io("remove_break A") == ("Could not remove breakpoint A\(reason)", ""))
            #expect(await harness.io("resume A") == ("Could not resume request\(reason)", ""))
            #expect(await harness.io("wait_break A") == ("Could not wait for breakpoint A\(reason)", ""))
        }
    }

    @Test func `a command takes only the permissions that it needs`() async throws {
        try await onLoop { () async throws(any Error) in
            let harness = try await Harness(TestDriver(1 << 20))
            let user = try await harness.graph.attach(
                "block device 'x'", to: harness.node,
                permissions: PermissionPair(used: .consistentRead, shared: .consistentRead))
            let text = """
                are both required by an unnamed block device (uses node 'n' as 'root' child) and unshared by block device \
                'x' (uses node 'n' as 'root' child).\r\n
                """
            let conflict = "Permission conflict on node 'n': permissions "
            #expect(await harness.io("write 0 1k") == ("", "\(conflict)'write' \(text)"))
            #expect(await harness.io("truncate 1k") == ("", "\(conflict)'write, resize' \(text)"))
            #expect(
                await harness.io("write 0") == ("bad argument count 1 to write, expected at least 2 arguments\n", ""))
            #expect(await harness.text("read 0 1k") == "read 1024/1024 bytes at offset 0\n1 KiB, 1 ops; T\n")
            await harness.graph.detach(user)
            #expect(await harness.text("write -q 0 1k") == "")
        }
    }

    private func backendCount(_ harness: Harness) async -> Int { await harness.graph.backends.count }
}
