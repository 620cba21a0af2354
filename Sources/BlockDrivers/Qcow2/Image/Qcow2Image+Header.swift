import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// Changes the header on disk, durably, and then in memory.
    ///
    /// Errors: EINVAL where the changed header does not fit its cluster; those of the file. When even the former header
    /// cannot be written back after an error, it is not known which one is on disk: nothing works from then on.
    public func updateHeader(_ change: (inout Qcow2Header) -> Void) async throws(Errno) {
        await headerLock.lock()
        defer { headerLock.unlock() }
        let old = header
        var new = old
        change(&new)
        guard new != old else { return }
        let bytes: [UInt8]
        do {
            bytes = try new.encoded()
        } catch {
            throw .EINVAL
        }
        let buffer = BufferPool.shared.take(count: Int(min(Int64(bytes.count).alignedUp(to: 512), layout.clusterSize)))
        let former = BufferPool.shared.take(count: buffer.count)
        defer {
            BufferPool.shared.give(buffer)
            BufferPool.shared.give(former)
        }
        buffer.fill(0)
        buffer.bytes.copyBytes(from: bytes)
        try await file.node.read(0..<Int64(former.count), into: former)
        do throws(Errno) {
            try await writeHeader(buffer, over: former)
        } catch {
            await restoreHeader(former)
            throw error
        }
        tables.withLock { $0.header = new }
    }

    /// Sets or clears an incompatible feature bit on disk. Version 2 has none.
    func setFeature(_ feature: Qcow2IncompatibleFeatures, _ isSet: Bool) async throws(Errno) {
        guard header.version >= 3 else { return }
        try await updateHeader { header in
            if isSet {
                header.incompatibleFeatures.insert(feature)
            } else {
                header.incompatibleFeatures.remove(feature)
            }
        }
    }

    /// Sets the dirty bit before refcounts are written late for the first time.
    func markDirty() async throws(Errno) {
        try await setFeature(.dirty, true)
        hasMarkedDirty.store(true, ordering: .relaxed)
        mustMarkDirty.store(false, ordering: .relaxed)
    }

    /// Writes the sectors of a header that differ from the former one, durably.
    private func writeHeader(_ buffer: IOBuffer, over former: IOBuffer) async throws(Errno) {
        for start in stride(from: 0, to: buffer.count, by: 512) {
            let sector = start..<min(start + 512, buffer.count)
            guard !buffer[sector].hasSameBytes(as: former[sector]) else { continue }
            try await file.node.write(Int64(sector.lowerBound)..<Int64(sector.upperBound), from: buffer[sector])
        }
        try await file.node.flush()
    }

    /// Writes the former header back after an error.
    private func restoreHeader(_ former: IOBuffer) async {
        do throws(Errno) {
            try await file.node.write(0..<Int64(former.count), from: former)
            try await file.node.flush()
        } catch {
            isBroken.store(true, ordering: .relaxed)
        }
    }
}
