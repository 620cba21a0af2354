import BlockDrivers
import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@Suite struct RawDriverTests {
    /// What QEMU says of options above a file of 1 MiB; nil where it takes them, with the length that it shows.
    @Test(
        arguments: [
            (512, nil, nil, 1_048_064), (511, nil, nil, 1 << 20), (1000, 512, nil, 512), (nil, 512, nil, 512),
            (nil, 511, "Specified size is not multiple of 512", 0), (nil, 1 << 20, nil, 1 << 20), (nil, 0, nil, 0),
            (
                nil, 1_049_088,
                "The sum of offset (0) and size (1049088) has to be smaller or equal to the  actual size of the "
                    + "containing file (1048576)", 0
            ),
            (1 << 20, nil, nil, 0),
            (1_049_088, nil, "Offset (1049088) cannot be greater than size of the containing file (1048576)", 0),
            (
                1_048_064, 1024,
                "The sum of offset (1048064) and size (1024) has to be smaller or equal to the  actual size of the "
                    + "containing file (1048576)", 0
            ),
            (-1, nil, "Value '-1' is out of range for parameter 'offset'", 0),
            (nil, -1, "Value '-1' is out of range for parameter 'size'", 0),
            (
                .max - 511, 1024,
                "Offset (9223372036854775296) cannot be greater than size of the containing file (1048576)", 0
            ),
        ] as [(Int64?, Int64?, String?, Int64)])
    func `options are checked against the file`(
        offset: Int64?, size: Int64?, refusal: String?, length: Int64
    ) async throws {
        try await GraphFixture.run { fixture in
            let file = try await fixture.open("f", NullDriver(NullConfiguration(size: 1 << 20)))
            var opened: BlockNode?
            let text = await blockError { () async throws(BlockError) in
                opened = try await fixture.openRaw("r", RawConfiguration(offset: offset, size: size), file: file)
            }
            #expect(text == refusal)
            #expect(opened?.length ?? 0 == length)
            #expect(file.parents.count == (opened == nil ? 0 : 1))
        }
    }

    @Test func `random requests to a part of a file touch only that part`() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        try await GraphFixture.run { fixture in
            var random = SeededGenerator(seed: seed)
            let start = Int64.random(in: 0...5000, using: &random)
            let before = random.bytes(40_000)
            let disk = MemoryDisk(before)
            let file = try await fixture.open("f", disk)
            let node = try await fixture.openRaw("r", RawConfiguration(offset: start, size: 20_480), file: file)
            let backend = try fixture.backend(node)
            var model = Array(before[Int(start)..<Int(start) + 20_480])
            for _ in 0..<200 {
                let offset = Int64.random(in: 0..<20_480, using: &random)
                let range = offset..<Int64.random(in: offset...20_480, using: &random)
                let place = Int(offset)..<Int(range.upperBound)
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    let bytes = random.bytes(place.count)
                    try await backend.writeBytes(bytes, at: offset)
                    model.replaceSubrange(place, with: bytes)
                case 1:
                    try await backend.writeZeroes(range)
                    model.replaceSubrange(place, with: [UInt8](repeating: 0, count: place.count))
                case 2:
                    let status = try await node.blockStatus(range)
                    guard !range.isEmpty else { continue }
                    #expect(status.hostOffset == offset + start && status.file == file, "seed \(seed)")
                    #expect(status.isZero == (model[place.lowerBound] == 0), "seed \(seed)")
                default:
                    #expect(try await backend.readBytes(range) == Array(model[place]), "seed \(seed)")
                }
            }
            var expected = before
            expected.replaceSubrange(Int(start)..<Int(start) + 20_480, with: model)
            #expect(disk.bytes == expected, "seed \(seed)")
        }
    }

    @Test func `a disk without a size follows its file, and can be resized`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk(length: 8192)
            let file = try await fixture.open("f", disk)
            let node = try await fixture.openRaw("r", RawConfiguration(offset: 4096), file: file)
            #expect(node.length == 4096)
            try await node.driver.resize(to: 16_384, exact: true, preallocation: .off)
            #expect(node.length == 16_384 && disk.length == 20_480)
            let text = await blockError { () async throws(BlockError) in
                try await node.driver.resize(to: BlockNode.maximumLength, exact: true, preallocation: .off)
            }
            #expect(text == "Disk size too large for the chosen offset")
            #expect(
                node.driver.filename(of: node)
                    == #"json:{"offset": 4096, "driver": "raw", "file": {"driver": "memory", "filename": "memory.img"}}"#
            )
        }
    }

    @Test func `a disk with a size cannot be resized, nor written beyond its end`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk(length: 8192)
            let file = try await fixture.open("f", disk)
            let node = try await fixture.openRaw("r", RawConfiguration(offset: 0, size: 4096), file: file)
            let text = await blockError { () async throws(BlockError) in
                try await node.driver.resize(to: 8192, exact: true, preallocation: .off)
            }
            #expect(text == "Cannot resize fixed-size raw disks")
            let buffer = BufferPool.shared.take(count: 512)
            defer { BufferPool.shared.give(buffer) }
            let error = await errno { () async throws(Errno) in
                try await node.driver.write(4096..<4608, from: buffer, flags: [])
            }
            #expect(error == .ENOSPC && disk.requests.isEmpty)
        }
    }

    @Test func `a disk that shows the whole file is called like the file`() async throws {
        try await GraphFixture.run { fixture in
            let file = try await fixture.open("f", MemoryDisk(length: 4096))
            let node = try await fixture.openRaw("r", file: file)
            #expect(node.driver.filename(of: node) == "memory.img")
            #expect(node.length == 4096)
        }
    }

    @Test func `a reopening moves the window, or fails and leaves it`() async throws {
        try await GraphFixture.run { fixture in
            let disk = MemoryDisk((0..<4096).map { UInt8(truncatingIfNeeded: $0 / 512) })
            let file = try await fixture.open("f", disk)
            let node = try await fixture.openRaw("r", RawConfiguration(offset: 512, size: 512), file: file)
            let backend = try fixture.backend(node)
            #expect(try await backend.readBytes(0..<1) == [1])
            func reopen(_ configuration: RawConfiguration) async -> String? {
                await blockError { () async throws(BlockError) in
                    try await fixture.graph.reopen([
                        ReopenItem(
                            node: node, options: node.options, driverOptions: configuration, sourceOptions: nil,
                            newChildren: [])
                    ])
                }
            }
            #expect(await reopen(RawConfiguration(offset: 1024)) == nil)
            #expect(node.length == 3072)
            #expect(try await backend.readBytes(0..<1) == [2])
            #expect(
                await reopen(RawConfiguration(offset: 4096, size: 512))
                    == "The sum of offset (4096) and size (512) has to be smaller or equal to the  actual size of the "
                    + "containing file (4096)")
            #expect(node.length == 3072)
        }
    }
}
