import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct FileTests {
    typealias Place = FileSystemDirectory.Place

    @Test(arguments: Place.allCases, [false, true])
    func `an odd length is shown in whole sectors, and the rest reads as zeroes`(_ place: Place, _ direct: Bool)
        async throws
    {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(place)
            for (length, shown) in [(0, 0), (1, 512), (511, 512), (512, 512), (513, 1024), (1000, 1024), (5000, 5120)] {
                let path = directory.makeFile("odd", pattern(length, 7))
                let graph = BlockGraph()
                let options = NodeOptions.with { $0.cacheDirect = direct }
                guard let node = try? await graph.openFile(path, options: options) else { continue }
                #expect(node.length == Int64(shown))
                let bytes = try await node.bytes(0..<Int64(shown) + 100)
                #expect(bytes == pattern(length, 7) + pattern(shown + 100 - length, 0))
                if length > 0 {
                    let tail = try await node.bytes(Int64(length) - 1..<Int64(shown))
                    #expect(tail == [7] + pattern(shown - length, 0))
                }
                var offset: Int64 = 0
                var steps = 0
                while offset < Int64(shown), steps < 20 {
                    offset += try await node.blockStatus(offset..<Int64(shown)).length
                    steps += 1
                }
                #expect(offset == Int64(shown))
                // Where blocks are larger than sectors, a write to the last one makes the file longer.
                guard node.driver.limits.requestAlignment <= 512 else { continue }
                let user = try await graph.attachWriter(node)
                if shown > 0 {
                    try await user.write([9], at: Int64(shown) - 1)
                    let last = try await user.bytes(Int64(shown) - 1..<Int64(shown))
                    #expect(last == [9])
                    #expect(contents(path).count == shown)
                }
                let error = await failure { () async throws(Errno) in try await user.write([9], at: Int64(shown)) }
                #expect(error == .EIO)
                await graph.detach(user)
                #expect(openFiles(below: directory.path) == [])
            }
        }
    }

    @Test(arguments: Place.allCases, [false, true])
    func `random requests do what an array of bytes does`(_ place: Place, _ direct: Bool) async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(place)
            for seed in 1...4 as ClosedRange<UInt64> {
                var random = SeededGenerator(seed: seed)
                var model = random.bytes(40_000)
                let path = directory.makeFile("disk", model)
                let graph = BlockGraph()
                let options = NodeOptions.with {
                    $0.cacheDirect = direct
                    $0.discard = .unmap
                    $0.detectZeroes = [.off, .on, .unmap].randomElement(using: &random) ?? .off
                }
                guard let node = try? await graph.openFile(path, options: options) else { return }
                let user = try await graph.attachWriter(node)
                model += pattern(Int(node.length) - model.count, 0)
                for step in 0..<200 {
                    let start = Int.random(in: 0..<45_000, using: &random)
                    let count = [1, 511, 512, 4096, 9000].randomElement(using: &random) ?? 1
                    let range = Int64(start)..<Int64(start + count)
                    var new = Int.random(in: 0..<3, using: &random) == 0 ? pattern(count, 0) : random.bytes(count)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0:
                        let padded = model + pattern(20_000, 0)
                        let bytes = try await node.bytes(range)
                        #expect(bytes == Array(padded[start..<start + count]), "seed \(seed) step \(step)")
                        continue
                    case 1:
                        new = pattern(count, 0)
                        let flags = [WriteFlags.mayUnmap, [], .leavingHoles].randomElement(using: &random) ?? []
                        try await node.writeZeroes(range, flags: flags)
                    case 2: try await node.write(new, at: range.lowerBound)
                    default:
                        let inside = range.clamped(to: 0..<node.length)
                        try await node.discard(inside)
                        let inner = inside.aligned(inwardTo: node.driver.limits.discardAlignment)
                        for index in inner { model[Int(index)] = 0 }
                        continue
                    }
                    if start + count > model.count { model += pattern(start + count - model.count, 0) }
                    model.replaceSubrange(start..<start + count, with: new)
                    model += pattern(Int(node.length) - model.count, 0)
                }
                let bytes = try await user.bytes(0..<node.length)
                #expect(bytes == model, "seed \(seed)")
                await graph.detach(user)
                #expect(Array(model.prefix(contents(path).count)) == contents(path))
            }
        }
    }

    @Test(arguments: Place.allCases)
    func `zeroing keeps space unless it may unmap, and discarding gives it back`(_ place: Place) async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(place)
            let size = 1 << 20
            let graph = BlockGraph()
            for discard in [NodeOptions.Discard.ignore, .unmap] {
                let path = directory.makeFile("disk", pattern(size, 7))
                let node = try await graph.openFile(
                    path, options: .with { $0.discard = discard }, isOwnedByMonitor: true)
                try await node.flush()
                let full = allocatedBytes(path)
                #expect(full >= size)
                try await node.writeZeroes(0..<Int64(size) / 2)
                #expect(allocatedBytes(path) >= size)
                try await node.writeZeroes(0..<Int64(size) / 4)
                #expect(allocatedBytes(path) >= size)
                try await node.writeZeroes(0..<Int64(size) / 2, flags: .mayUnmap)
                try await node.discard(Int64(size) / 2..<Int64(size) * 3 / 4)
                let left = allocatedBytes(path)
                #expect(discard == .unmap ? left <= size / 2 : left >= size)
                let bytes = try await node.bytes(0..<Int64(size))
                let expected =
                    pattern(size / 2, 0) + pattern(size / 4, discard == .unmap ? 0 : 7) + pattern(size / 4, 7)
                #expect(bytes == expected)
                if discard == .unmap {
                    let hole = try await node.blockStatus(0..<Int64(size))
                    #expect(hole.isZero && !hole.isData && hole.length == Int64(size) * 3 / 4)
                    let data = try await node.blockStatus(Int64(size) * 3 / 4..<Int64(size))
                    #expect(data.isData && !data.isZero && data.isEndOfFile && data.length == Int64(size) / 4)
                }
                try await graph.delete(node)
            }
        }
    }

    @Test(arguments: Place.allCases)
    func `zeroing may leave holes, which bitmaps see as any write`(_ place: Place) async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(place)
            let (size, block) = (Int64(1 << 20), Int64(65536))
            let path = directory.makeFile("holes", [])
            _ = truncate(path, Int(size))
            let graph = BlockGraph()
            let node = try await graph.openFile(path)
            let user = try await graph.attachWriter(node)
            let bitmap = try await graph.addBitmap(named: "b", to: node, granularity: block)
            try await user.writeZeroes(0..<size, flags: .leavingHoles)
            #expect(allocatedBytes(path) == 0)
            #expect(bitmap.snapshot().dirtyByteCount == size)
            // What is a hole in part is written.
            try await user.write(pattern(512, 1), at: block * 2 + 512)
            try await user.writeZeroes(block..<block * 4, flags: .leavingHoles)
            #expect(allocatedBytes(path) >= Int(block) * 3)
            let bytes = try await user.bytes(0..<size)
            #expect(bytes == pattern(Int(size), 0))
            try await node.writeZeroes(size - block..<size + block, flags: .leavingHoles)
            #expect(node.length == size + block)
            await graph.detach(user)
            await graph.closeAll()
        }
    }

    @Test(arguments: Place.allCases, [NodeOptions.DetectZeroes.off, .on, .unmap])
    func `detect-zeroes turns written zeroes into holes where told`(
        _ place: Place, _ detect: NodeOptions.DetectZeroes
    ) async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(place)
            let size = 1 << 20
            let path = directory.makeFile("disk", pattern(size, 7))
            let graph = BlockGraph()
            let node = try await graph.openFile(
                path,
                options: .with {
                    $0.detectZeroes = detect
                    $0.discard = .unmap
                }, isOwnedByMonitor: true)
            try await node.write(pattern(size / 2, 0), at: 0)
            try await node.write(pattern(4096, 0) + [1] + pattern(4095, 0), at: Int64(size) / 2)
            let left = allocatedBytes(path)
            #expect(detect == .unmap ? left <= size / 2 : left >= size)
            #expect(
                contents(path) == pattern(size / 2 + 4096, 0) + [1] + pattern(4095, 0) + pattern(size / 2 - 8192, 7))
            await graph.closeAll()
        }
    }

    @Test func `zeroing beyond the end does not cut off what is written there at the same time`() async throws {
        try await withLoops(2) { loops in
            let directory = FileSystemDirectory(.tmpfs)
            for round in 0..<30 {
                let path = directory.makeFile("disk")
                let graph = BlockGraph()
                let node = try await on(loops[0]) { () async throws(BlockError) in
                    try await graph.openFile(path, options: .with { $0.discard = .unmap }, isOwnedByMonitor: true)
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<16 as Range<Int64> {
                        group.addTask(executorPreference: loops[Int(index) % 2]) {
                            if index % 2 == 0 {
                                try await node.write(pattern(4096, UInt8(index + 1)), at: index * 4096)
                            } else {
                                try await node.writeZeroes(index * 4096..<(index + 1) * 4096, flags: .mayUnmap)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                let expected = (0..<16).flatMap { pattern(4096, $0 % 2 == 0 ? UInt8($0 + 1) : 0) }
                #expect(contents(path) == expected, "round \(round)")
                await graph.closeAll()
            }
        }
    }

    @Test func `resizing, with preallocation and without`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.makeFile("disk", pattern(4096, 7))
            let graph = BlockGraph()
            let node = try await graph.openFile(path, isOwnedByMonitor: true)
            let bitmap = try node.bitmaps.add(name: "b", length: node.length, granularity: 512)
            try await node.write([1], at: 4095)
            try await node.resize(to: 8192, exact: true)
            #expect(node.length == 8192 && bitmap.length == 8192)
            try await node.resize(to: 1 << 20, exact: true, preallocation: .falloc)
            #expect(allocatedBytes(path) >= 1 << 20 - 8192)
            try await node.resize(to: 2 << 20, exact: true, preallocation: .full)
            #expect(allocatedBytes(path) >= 2 << 20 - 8192)
            let error = await failure { () async throws(BlockError) in
                try await node.resize(to: 512, exact: true, preallocation: .full)
            }
            #expect(error != nil && node.length == 2 << 20)
            try await node.resize(to: 512, exact: true)
            #expect(node.length == 512 && bitmap.length == 512 && contents(path) == pattern(512, 7))
            try await node.resize(to: 4096, exact: true)
            #expect(contents(path) == pattern(512, 7) + pattern(3584, 0))
            #expect(Array(bitmap.snapshot().dirtyAreas) == [])
            await graph.closeAll()
        }
    }

    @Test func `what cannot be opened says why and leaves nothing open`() async throws {
        try await onLoop { () async throws(any Error) in
            let directory = FileSystemDirectory(.disk)
            let path = directory.path
            let file = directory.makeFile("disk", pattern(512, 1))
            let graph = BlockGraph()
            for (kind, name, text) in [
                (
                    FileConfiguration.Kind.file, "\(path)/none",
                    "Could not open '\(path)/none': No such file or directory"
                ),
                (.file, path, "Could not open '\(path)': Is a directory"),
                (.file, "/dev/null", "'file' driver requires '/dev/null' to be a regular file"),
                (.hostDevice, file, "'host_device' driver requires '\(file)' to be either a character or block device"),
            ] {
                let error = await failure { () async throws(BlockError) in
                    try await graph.openConfigured(FileConfiguration(kind: kind, filename: name))
                }
                #expect(error?.description == text)
            }
            let nodes = await graph.nodes
            #expect(nodes == [])
            #expect(openFiles(below: path) == [])
        }
    }
}

extension BlockGraph {
    fileprivate func openConfigured(_ configuration: FileConfiguration) async throws(BlockError) {
        _ = try await open(name: nil, options: NodeOptions()) { (node) async throws(BlockError) in
            try await FileDriver.open(configuration, in: node)
        }
    }
}
