import IOLoop
import StorageTestSupport
import Testing

@Suite struct FileTests {
    @Test(arguments: [1 as UInt64, 2, 3]) func `random transfers agree with a model`(seed: UInt64) async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            var random = SeededGenerator(seed: seed)
            var model = [UInt8](repeating: 0, count: 1 << 16)
            let file = try await FileDescriptor.open(directory.file("model"), [.readWrite, .create])
            try await file.ftruncate(to: model.count)
            for _ in 0..<300 {
                let start = Int.random(in: 0..<model.count, using: &random)
                let length = Int.random(in: 0...(model.count - start), using: &random)
                if Bool.random(using: &random) {
                    let bytes = random.bytes(length)
                    model.replaceSubrange(start..<(start + length), with: bytes)
                    try await file.write(bytes, at: start)
                } else {
                    let bytes = try await file.bytes(length, at: start)
                    #expect(bytes == Array(model[start..<(start + length)]), "seed \(seed)")
                }
            }
            try await file.close()
        }
    }

    @Test func `vectors are moved one after the other`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let file = try await FileDescriptor.open(directory.file("v"), [.readWrite, .create])
            let pool = BufferPool.shared
            let buffers = [1, 0, 4097, 13].map { pool.take(count: $0) }
            for (index, buffer) in buffers.enumerated() { buffer.fill(UInt8(index + 1)) }
            #expect(try await file.writev(from: buffers, at: 5) == 4111)
            let expected =
                [UInt8](repeating: 0, count: 5) + [1] + [UInt8](repeating: 3, count: 4097)
                + [UInt8](repeating: 4, count: 13)
            #expect(try await file.bytes(4116, at: 0) == expected)
            for buffer in buffers { buffer.fill(0) }
            #expect(try await file.readv(into: buffers, at: 5) == 4111)
            #expect(buffers[0].bytes.first == 1)
            #expect(buffers[2].bytes.allSatisfy { $0 == 3 })
            #expect(try await file.writev(from: buffers, at: 0, skipping: 4100) == 11)
            #expect(try await file.bytes(11, at: 0) == [UInt8](repeating: 4, count: 11))
            for buffer in buffers { pool.give(buffer) }
            try await file.close()
        }
    }

    @Test(arguments: [0, 1, 4095, 4096, 4097]) func `reads end at the end of the file`(size: Int) async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let file = try await FileDescriptor.open(directory.file("short"), [.readWrite, .create])
            try await file.write([UInt8](repeating: 9, count: size), at: 0)
            try await BufferPool.shared.withBuffer(count: 8192) { (buffer) async throws(Errno) in
                buffer.fill(1)
                #expect(try await file.readFully(into: buffer, at: 0) == size)
                #expect(buffer[0..<size].bytes.allSatisfy { $0 == 9 })
                #expect(buffer[size...].bytes.allSatisfy { $0 == 1 })
                #expect(try await file.read(into: buffer, at: size) == 0)
                #expect(try await file.read(into: buffer, at: size + 1) == 0)
            }
            try await file.close()
        }
    }

    @Test func `holes are punched, found, and zeroed`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let file = try await FileDescriptor.open(directory.file("holes"), [.readWrite, .create])
            let cluster = 65536
            try await file.write([UInt8](repeating: 1, count: 4 * cluster), at: 0)
            try await file.fallocate(.punchHole, offset: cluster, length: cluster)
            #expect(try await file.statx().size == 4 * cluster)
            #expect(try file.seekData(from: 0) == 0)
            #expect(try file.seekHole(from: 0) == cluster)
            #expect(try file.seekData(from: cluster) == 2 * cluster)
            #expect(try file.seekHole(from: 2 * cluster) == 4 * cluster)
            #expect(throws: Errno.ENXIO) { try file.seekData(from: 4 * cluster) }
            #expect(try await file.bytes(2, at: cluster - 1) == [1, 0])
            do throws(Errno) {
                try await file.fallocate(.zeroRange, offset: 2 * cluster - 1, length: 2)
                #expect(try await file.bytes(3, at: 2 * cluster - 1) == [0, 0, 1])
            } catch {
                // tmpfs cannot.
                #expect(error == .EOPNOTSUPP)
            }
            try await file.fallocate(.allocate, offset: 4 * cluster, length: 1)
            #expect(try file.seekEnd() == 4 * cluster + 1)
            try await file.fallocate([.keepSize], offset: 4 * cluster, length: cluster)
            #expect(try file.seekEnd() == 4 * cluster + 1)
            await expectErrno(.EINVAL) { () async throws(Errno) in
                try await file.fallocate(.allocate, offset: 0, length: 0)
            }
            try await file.close()
        }
    }

    @Test func `size, kind and allocation show in the status`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let path = directory.file("status")
            let file = try await FileDescriptor.open(path, [.readWrite, .create, .exclusive], mode: 0o600)
            try await file.ftruncate(to: 1 << 30)
            var status = try await file.statx()
            #expect(status.size == 1 << 30)
            #expect(status.allocatedSize == 0)
            #expect(status.permissions == 0o600)
            #expect(status.modificationTime > 1_600_000_000_000_000_000)
            try await file.ftruncate(to: 0)
            try await file.write([1, 2, 3], at: 0)
            try await file.fdatasync()
            try await file.fsync()
            status = try await FileDescriptor.statx(path)
            #expect(status.size == 3)
            #expect(status.allocatedSize >= 512)
            #expect(status.inode == (try await file.statx()).inode)
            #expect(try await FileDescriptor.statx(directory.path).kind == .directory)
            #expect(try await FileDescriptor.statx("/dev/null").kind == .characterDevice)
            try await FileDescriptor.rename(path, to: directory.file("other"))
            await expectErrno(.ENOENT) { () async throws(Errno) in _ = try await FileDescriptor.statx(path) }
            try await FileDescriptor.unlink(directory.file("other"))
            #expect(try await file.statx().size == 3)
            try await file.close()
        }
    }

    @Test func `errors of the system come through`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let path = directory.file("missing")
            await expectErrno(.ENOENT) { () async throws(Errno) in _ = try await FileDescriptor.open(path, .readOnly) }
            await expectErrno(.EINVAL) { () async throws(Errno) in _ = try await FileDescriptor.open("a\0b", .readOnly)
            }
            await expectErrno(.ENOENT) { () async throws(Errno) in try await FileDescriptor.unlink(path) }
            await expectErrno(.EBADF) { () async throws(Errno) in
                try await FileDescriptor(rawValue: -1).fsync()
            }
            let file = try await FileDescriptor.open(path, [.writeOnly, .create])
            await expectErrno(.EBADF) { () async throws(Errno) in _ = try await file.bytes(1, at: 0) }
            await expectErrno(.EINVAL) { () async throws(Errno) in try await file.ftruncate(to: -1) }
            await expectErrno(.EEXIST) { () async throws(Errno) in
                _ = try await FileDescriptor.open(path, [.writeOnly, .create, .exclusive])
            }
            try await file.close()
        }
    }

    @Test func `more operations than the ring has entries all complete`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws in
            let loop = IOLoop.required
            let file = try await FileDescriptor.open(directory.file("many"), [.readWrite, .create])
            let count = 6000
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<count {
                    group.addTask(executorPreference: loop) {
                        try await file.write([UInt8(truncatingIfNeeded: index)], at: index)
                    }
                }
                try await group.waitForAll()
            }
            let bytes = try await file.bytes(count, at: 0)
            #expect(bytes == (0..<count).map { UInt8(truncatingIfNeeded: $0) })
            try await file.close()
        }
    }

    @Test func `locks of ranges exclude other open files`() async throws {
        let directory = TemporaryDirectory()
        try await onLoop { () async throws(Errno) in
            let path = directory.file("locks")
            let one = try await FileDescriptor.open(path, [.readWrite, .create])
            let two = try await FileDescriptor.open(path, .readWrite)
            try one.lockRange(.shared, offset: 100, length: 1)
            try two.lockRange(.shared, offset: 100, length: 1)
            #expect(try !one.canLockRange(.exclusive, offset: 100, length: 1))
            #expect(throws: Errno.EAGAIN) { try one.lockRange(.exclusive, offset: 99, length: 2) }
            try two.unlockRange(offset: 100, length: 1)
            #expect(try one.canLockRange(.exclusive, offset: 100, length: 1))
            try one.lockRange(.exclusive, offset: 100, length: 1)
            #expect(try two.canLockRange(.exclusive, offset: 101, length: 1))
            #expect(try !two.canLockRange(.shared, offset: 100, length: 1))
            try await one.close()
            #expect(try two.canLockRange(.exclusive, offset: 100, length: 1))
            try await two.close()
        }
    }
}
