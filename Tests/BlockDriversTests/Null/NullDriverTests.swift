import BlockDrivers
import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@Suite struct NullDriverTests {
    @Test func `the defaults are 1 GiB and no promise of zeroes`() async throws {
        try await GraphFixture.run { fixture in
            let node = try await fixture.open("n", NullDriver(NullConfiguration()))
            #expect(node.length == 1 << 30)
            #expect(node.driver.filename(of: node) == "null-co://")
            let backend = try fixture.backend(node)
            try await backend.writeBytes([1, 2, 3], at: 5)
            #expect(try await backend.readBytes(4..<9) == [0, 0, 0, 0, 0])
            try await backend.flush()
            let status = try await node.blockStatus(0..<4096)
            #expect(!status.isZero && !status.isData && !status.isAllocated && status.length == 4096)
        }
    }

    @Test func `read-zeroes shows in the block status and in the name`() async throws {
        try await GraphFixture.run { fixture in
            let configuration = NullConfiguration(kind: .callbacks, size: 1 << 20, readZeroes: true)
            let node = try await fixture.open("n", NullDriver(configuration))
            let status = try await node.blockStatus(4096..<1 << 20)
            #expect(status.isZero && status.isAllocated && !status.isData)
            #expect(status.hostOffset == 4096 && status.length == (1 << 20) - 4096)
            #expect(
                node.driver.filename(of: node) == #"json:{"read-zeroes": true, "driver": "null-aio", "size": 1048576}"#)
        }
    }

    @Test func `sizes are whole sectors, and 0 is one of them`() async throws {
        #expect(try NullDriver(NullConfiguration(size: 1000)).length == 1024)
        #expect(try NullDriver(NullConfiguration(size: 0)).length == 0)
        #expect(try NullDriver(NullConfiguration(size: BlockNode.maximumLength)).length > 1 << 62)
    }

    @Test func `values out of range are refused in QEMU's words`() async {
        func refusal(_ configuration: NullConfiguration) async -> String? {
            await blockError { () async throws(BlockError) in _ = try NullDriver(configuration) }
        }
        #expect(await refusal(NullConfiguration(latencyNanoseconds: -1)) == "latency-ns is invalid")
        #expect(
            await refusal(NullConfiguration(size: .max)) == "Could not refresh total sector count: File too large")
        #expect(await refusal(NullConfiguration(size: -1)) == "Value '-1' is out of range for parameter 'size'")
    }

    @Test func `a request takes at least the latency`() async throws {
        try await GraphFixture.run { fixture in
            let node = try await fixture.open("n", NullDriver(NullConfiguration(latencyNanoseconds: 2_000_000)))
            let backend = try fixture.backend(node)
            let start = MonotonicTime.now
            _ = try await backend.readBytes(0..<512)
            #expect(start.duration(to: .now) >= .milliseconds(2))
        }
    }

    @Test func `a null disk cannot be resized`() async throws {
        try await GraphFixture.run { fixture in
            let node = try await fixture.open("n", NullDriver(NullConfiguration()))
            let text = await blockError { () async throws(BlockError) in
                try await node.driver.resize(to: 4096, exact: true, preallocation: .off)
            }
            #expect(text == "Image format driver does not support resize")
        }
    }
}
