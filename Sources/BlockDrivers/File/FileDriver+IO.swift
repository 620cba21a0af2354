import BlockGraph
import IOLoop
import Synchronization

extension FileDriver {
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let alignment = Int(limits.requestAlignment)
        var done = 0
        while done < buffer.count {
            do {
                let rest = done == 0 ? buffer : buffer[done..<buffer.count]
                let count = try await read(into: rest, at: Int(range.lowerBound) + done)
                done += count
                // Direct I/O comes back with a part of a block at the end of the file only, and cannot go on from there.
                if count == 0 || count % alignment != 0 { break }
            } catch .EINTR {}
        }
        if done < buffer.count { buffer[done..<buffer.count].fill(0) }
    }

    private func read(into buffer: IOBuffer, at offset: Int) async throws(Errno) -> Int {
        let file = file
        return isInMemory
            ? try await file.readInMemory(into: buffer, at: offset) : try await file.read(into: buffer, at: offset)
    }

    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        let file = file
        let offset = Int(range.lowerBound)
        let done = isInMemory ? try await file.writeInMemory(from: buffer, at: offset) : 0
        if done < buffer.count {
            try await file.writeFully(from: done == 0 ? buffer : buffer[done...], at: offset + done)
        }
        noteEnd(range.upperBound)
    }

    /// Makes all writes that have returned durable. After a failure the page cache may have lost data, although the system
    /// tells so only once: no later flush succeeds then.
    public func flush() async throws(Errno) {
        let former = flushError.load(ordering: .relaxed)
        if former != 0 { throw Errno(rawValue: former) }
        do {
            if isInMemory { try file.fdatasyncInMemory() } else { try await file.fdatasync() }
        } catch {
            if limits.memoryAlignment == 1 { flushError.store(error.rawValue, ordering: .relaxed) }
            throw error
        }
    }

    /// Zeroes a range with fallocate(2): holes where deallocating is allowed, else allocated zeroes.
    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        if flags.contains(.leavingHoles), range.upperBound <= length, isHole(range) { return }
        if flags.contains(.mayUnmap), try await punchHole(range) { return try await extend(to: range.upperBound) }
        guard !lacksZeroRange.load(ordering: .relaxed) else { return try await zeroByHole(range) }
        do {
            defer { dataExtents.forget() }
            try await file.fallocate(.zeroRange, offset: Int(range.lowerBound), length: Int(range.length))
            noteEnd(range.upperBound)
        } catch .EOPNOTSUPP, .ENODEV, .ENOSYS, .EINVAL {
            lacksZeroRange.store(true, ordering: .relaxed)
            try await zeroByHole(range)
        }
    }

    /// Whether the file has a hole throughout a range, as far as the file system tells.
    private func isHole(_ range: ByteRange) -> Bool {
        guard dataExtents.end(at: range.lowerBound) == nil else { return false }
        do {
            return Int64(try file.seekData(from: Int(range.lowerBound))) >= range.upperBound
        } catch {
            return error == .ENXIO
        }
    }

    /// Zeroes where the file system knows no zero range (tmpfs): a hole, allocated again.
    private func zeroByHole(_ range: ByteRange) async throws(Errno) {
        guard configuration.kind == .file, try await punchHole(range) else { throw .ENOTSUP }
        try await file.fallocate(.allocate, offset: Int(range.lowerBound), length: Int(range.length))
        noteEnd(range.upperBound)
    }

    public func discard(_ range: ByteRange) async throws(Errno) {
        var succeeded = false
        defer { discards.note(range.length, succeeded: succeeded) }
        guard try await punchHole(range) else { throw .ENOTSUP }
        succeeded = true
    }

    /// Punches a hole; false where the file system cannot.
    private func punchHole(_ range: ByteRange) async throws(Errno) -> Bool {
        guard !lacksPunchHole.load(ordering: .relaxed) else { return false }
        do {
            defer { dataExtents.forget() }
            try await file.fallocate(.punchHole, offset: Int(range.lowerBound), length: Int(range.length))
            return true
        } catch .EOPNOTSUPP, .ENODEV, .ENOSYS {
            lacksPunchHole.store(true, ordering: .relaxed)
            return false
        }
    }

    /// Makes the file reach to `end` where a hole was punched beyond its end: by writing the last block of the hole, as
    /// ftruncate(2) would cut off what others write behind it at the same time.
    private func extend(to end: Int64) async throws(Errno) {
        guard end > length else { return }
        let zeroes = BufferPool.shared.take(count: Int(limits.requestAlignment))
        defer { BufferPool.shared.give(zeroes) }
        zeroes.fill(0)
        try await file.writeFully(from: zeroes, at: Int(end) - zeroes.count)
        noteEnd(end)
    }

    /// Data and holes as the file system tells them; everything is data where it cannot.
    public func blockStatus(_ range: ByteRange, precision: BlockStatusPrecision) async throws(Errno) -> BlockStatus {
        var status = BlockStatus(length: range.length, isData: true, isAllocated: true, hostOffset: range.lowerBound)
        guard precision == .zeroes else { return status }
        if let end = dataExtents.end(at: range.lowerBound) {
            status.length = min(status.length, end - range.lowerBound)
            return status
        }
        let start = Int(range.lowerBound)
        do {
            let data = try file.seekData(from: start)
            if data > start {
                status.isData = false
                status.isZero = true
                status.length = min(status.length, Int64(data - start))
            } else {
                let end = max(range.lowerBound + 1, Int64(try file.seekHole(from: start)))
                dataExtents.remember(range.lowerBound..<end)
                status.length = min(status.length, end - range.lowerBound)
            }
        } catch .ENXIO {
            status.isData = false
            status.isZero = true
        } catch {
            return status
        }
        return status
    }
}
