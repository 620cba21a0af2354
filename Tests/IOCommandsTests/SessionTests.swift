import BlockGraph
import Glibc
import IOCommands
import IOLoop
import StorageTestSupport
import Testing

@Suite struct SessionTests {
    /// A session whose images are disks in memory; what it prints and reports.
    @GraphActor
    private final class Harness {
        let graph = BlockGraph()
        let printed = Printed()
        let session: IOSession

        init() {
            let (graph, printed) = (graph, printed)
            session = IOSession(
                opener: { request async throws(BlockError) in
                    guard request.path != "nothere" else { throw BlockError("no such image") }
                    var options = NodeOptions()
                    options.isReadOnly = request.isReadOnly
                    let node = try await graph.open(name: nil, options: options) { _ in TestDriver(1 << 20) }
                    return try graph.attach(
                        "image", to: node, permissions: PermissionPair(used: request.isReadOnly ? [] : .write))
                },
                hooks: IOCommandHooks(),
                output: IOCommandOutput(
                    print: { printed.append(withoutTimes($0)) }, report: { printed.append("report \($0)\n") },
                    complain: { printed.append("complaint \($0)") }))
        }

        /// Runs lines; what they printed.
        func run(_ lines: String...) async -> String {
            for line in lines { _ = await session.run(line) }
            return printed.take()
        }
    }

    @Test func `images are opened and closed by commands`() async throws {
        try await onLoop { @GraphActor () async throws(any Error) in
            let harness = Harness()
            #expect(await harness.run("length") == "complaint no file open, try 'help open'\n")
            #expect(await harness.run("read") == "complaint no file open, try 'help open'\n")
            #expect(harness.session.hasFailed)
            #expect(await harness.run("open nothere") == "report can't open device nothere: no such image\n")
            #expect(await harness.run("open a", "length") == "1 MiB\n")
            #expect(await harness.run("open b") == "report file open already, try 'help close'\n")
            #expect(await harness.run("close", "close") == "complaint no file open, try 'help open'\n")
            #expect(harness.graph.nodes.isEmpty)
            #expect(await harness.run("open -r a", "write 0 512") == "report Block node is read-only\n")
            #expect(
                await harness.run("read") == "complaint bad argument count 0 to read, expected at least 2 arguments\n")
            await harness.session.close()
            #expect(harness.graph.nodes.isEmpty)
        }
    }

    @Test func `asynchronous requests come back before an image is closed`() async throws {
        try await onLoop { @GraphActor () async throws(any Error) in
            let harness = Harness()
            let report = "wrote 65536/65536 bytes at offset 0\n64 KiB, 1 ops; T"
            #expect(await harness.run("open a", "aio_write 0 64k", "close").hasPrefix(report))
        }
    }

    @Test func `lines are run up to the end of the input, or to quit`() async throws {
        try await onLoop { @GraphActor () async throws(any Error) in
            for (input, expected) in [
                ("open a\nlength", "P P 1 MiB\nP "), ("", "P "), ("open a\n\nq\nlength\n", "P P P "),
                ("open a\nlength\0 x\nlength\n", "P P 1 MiB\nP 1 MiB\nP "),
            ] {
                let harness = Harness()
                var ends: [Int32] = [0, 0]
                #expect(pipe(&ends) == 0)
                let bytes = Array(input.utf8)
                #expect(write(ends[1], bytes, bytes.count) == bytes.count)
                close(ends[1])
                await harness.session.runLines(of: FileDescriptor(rawValue: ends[0]))
                await harness.session.close()
                close(ends[0])
                #expect(harness.printed.take().replacing("qemu-io> ", with: "P ") == expected)
            }
        }
    }

    @Test func `options without a value are on, or off after "no"`() async throws {
        try await onLoop { @GraphActor () async throws(any Error) in
            let harness = Harness()
            let printed = await harness.run("open -o x=1,nofoo a")
            #expect(
                printed == "report warning: short-form boolean option 'nofoo' deprecated\nPlease use foo=off instead\n")
            await harness.session.close()
        }
    }
}
