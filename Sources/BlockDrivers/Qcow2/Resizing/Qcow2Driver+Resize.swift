import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// Changes the length of the disk. A crash in between leaves either length, and at most leaked clusters.
    ///
    /// Longer: the new bytes read as zeroes, whatever the backing file has there. Shorter: the clusters behind the new end are
    /// given up, and the file is cut where nothing follows.
    ///
    /// Errors, in QEMU's words: the length is no multiple of 512; the image has snapshots that do not keep their length;
    /// preallocation for a shorter disk; the L1 table would be too large; I/O.
    @GraphActor
    public func resize(to length: Int64, exact: Bool, preallocation: Preallocation) async throws(BlockError) {
        let old = self.length
        let header = image.header
        guard length % 512 == 0 else { throw BlockError("The new size must be a multiple of 512", errno: .EINVAL) }
        guard header.version >= 3 || header.snapshotCount == 0 else {
            throw BlockError("Can't resize a v2 image which has snapshots", errno: .ENOTSUP)
        }
        if length < old {
            guard preallocation == .off else {
                throw BlockError("Preallocation can only be used for growing images", errno: .EINVAL)
            }
            try await shrink(to: length)
        } else {
            try await grow(to: length, preallocation: preallocation)
        }
    }

    // MARK: Longer

    @GraphActor private func grow(to length: Int64, preallocation: Preallocation) async throws(BlockError) {
        let image = image
        let old = self.length
        let isRaw = image.header.autoclearFeatures.contains(.rawDataFile)
        try await resizing("Failed to grow the L1 table") { () async throws(Errno) in
            try await image.growL1(to: image.geometry.l1EntryCount(forVirtualSize: length))
        }
        if let dataFile = dataFile?.node, dataFile.length < length {
            let mode = preallocation == .metadata ? .off : preallocation
            try await resizeFile(dataFile, to: length, preallocation: mode)
        }
        // All this is there before the disk is longer, so that the bytes are never seen otherwise than as zeroes.
        let isMapped = preallocation != .off || isRaw
        try await resizing("Failed to zero out new clusters") { () async throws(Errno) in
            try await self.zeroTail(from: old, to: length)
        }
        let start = old.alignedUp(to: image.geometry.clusterSize)
        if isMapped, start < length {
            try await resizing("Could not preallocate metadata") { () async throws(Errno) in
                try await self.preallocate(start..<length, preallocation)
            }
        } else if start < length, let backing = backing?.node, backing.length > start {
            try await resizing("Failed to zero out new clusters") { () async throws(Errno) in
                try await self.writeZeroes(start..<length, flags: .noFallback)
            }
        }
        try await setLength(length)
    }

    /// Zeroes what the last cluster of the disk has behind the disk's end: rests of a longer disk, or of the backing file.
    private func zeroTail(from old: Int64, to length: Int64) async throws(Errno) {
        let end = min(length, old.alignedUp(to: image.geometry.clusterSize))
        var start = old
        while start < end {
            let run = try await run(start..<end)
            let piece = start..<start + run.length
            start = piece.upperBound
            switch run.kind {
            case .zero: continue
            case .unallocated:
                guard let backing = backing?.node, backing.length > piece.lowerBound else { continue }
            case .data, .compressed: break
            }
            let zeroes = BufferPool.shared.take(count: Int(piece.length))
            defer { BufferPool.shared.give(zeroes) }
            zeroes.fill(0)
            // Not by `write`, which keeps to the disk's length.
            let epoch = image.beginRequest()
            defer { image.endRequest(epoch) }
            try await writeMapped(piece, from: zeroes)
        }
    }

    // MARK: Shorter

    @GraphActor private func shrink(to length: Int64) async throws(BlockError) {
        let image = image
        let start = length.alignedUp(to: image.geometry.clusterSize)
        // First the length: a crash then leaves clusters that are not needed, never a disk that lost data.
        try await setLength(length)
        try await resizing("Failed to discard cropped clusters") { () async throws(Errno) in
            try await self.dropClusters(from: start)
            try await image.makeClean()
        }
        if let dataFile = dataFile?.node {
            try await resizeFile(dataFile, to: length, preallocation: .off)
        }
        try await cutFile()
    }

    /// Gives up all clusters behind an offset, which is aligned to clusters.
    private func dropClusters(from start: Int64) async throws(Errno) {
        let image = image
        let geometry = image.geometry
        let bytesInTable = geometry.clusterSize * Int64(geometry.clusterSize / Int64(geometry.l2EntrySize))
        let firstTable = start.quotientRoundedUp(by: bytesInTable)
        let tables = image.l1Entries
        for index in Int(start / bytesInTable)..<max(Int(start / bytesInTable), tables.count)
        where L1Entry(rawValue: tables[index]).offset != 0 {
            let table = Int64(index) * bytesInTable..<Int64(index + 1) * bytesInTable
            var offset = max(start, table.lowerBound)
            while offset < table.upperBound {
                let slice = image.sliceRange(of: offset)
                try await dropEntries(offset..<slice.upperBound)
                offset = slice.upperBound
            }
        }
        await image.dropL2Tables(fromEntry: Int(firstTable))
    }

    /// Makes the entries of a range in one slice empty.
    private func dropEntries(_ range: ByteRange) async throws(Errno) {
        let geometry = image.geometry
        let isEmpty = try await image.withEntries(at: range.lowerBound) { slice in
            guard let slice else { return true }
            return (slice.index(of: range.lowerBound)..<slice.count).allSatisfy { slice[$0].isEmpty }
        }
        guard !isEmpty else { return }
        let former = try await image.changeEntries(at: range.lowerBound) { slice in
            var former: [L2Entry] = []
            for index in slice.index(of: range.lowerBound)..<slice.count where !slice[index].isEmpty {
                let entry = slice[index]
                if entry.isCompressed || entry.clusterOffset(geometry) != nil { former.append(entry) }
                slice[index] = L2Entry()
            }
            return former
        }
        for entry in former { release(entry) }
    }

    /// Cuts the file behind the last cluster in use. Where that cannot be done, it stays longer than it need be.
    @GraphActor private func cutFile() async throws(BlockError) {
        let clusterSize = image.geometry.clusterSize
        let file = file.node
        var end = file.length.alignedUp(to: clusterSize)
        try await resizing("Failed to find the last cluster of the image") { () async throws(Errno) in
            while end > 0, try await self.image.refcount(ofClusterAt: end - clusterSize) == 0 { end -= clusterSize }
        }
        // The last table may end before its cluster does.
        if end < file.length { try? await file.resize(to: end, exact: false) }
    }

    // MARK: Parts

    /// Makes everything durable, and then the new length.
    @GraphActor private func setLength(_ length: Int64) async throws(BlockError) {
        let image = image
        try await resizing("Failed to update the image size") { () async throws(Errno) in
            try await image.commit()
            try await image.updateHeader { $0.virtualSize = length }
        }
    }

    @GraphActor func resizeFile(
        _ node: BlockNode, to length: Int64, preallocation: Preallocation
    ) async throws(BlockError) {
        do {
            try await node.resize(to: length, exact: false, preallocation: preallocation)
        } catch {
            throw BlockError("Failed to resize underlying file: \(error.description)", errno: error.errno)
        }
    }

    @GraphActor private func resizing(_ what: String, _ body: @GraphActor () async throws(Errno) -> Void)
        async throws(BlockError)
    {
        do {
            try await body()
        } catch {
            throw BlockError(what, causedBy: error == .ENOTSUP ? .EOPNOTSUPP : error)
        }
    }
}
