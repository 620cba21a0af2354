import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// Makes entries say that the range reads as zeroes, without writing any.
    ///
    /// The parts of subclusters at its ends are zeroed as well where they read as zeroes already. ENOTSUP: they do not, or
    /// the format cannot say it: a part of a compressed cluster, or above a backing file in version 2.
    public func writeZeroes(_ range: ByteRange, flags: WriteFlags) async throws(Errno) {
        let image = image
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let change = ClusterRemoval(
            kind: flags.contains(.mayUnmap) ? .zeroAndUnmap : .zero, geometry: image.geometry,
            hasZeroFlag: image.header.version >= 3, hasBacking: backing != nil,
            keepsClusters: image.configuration.discardNoUnref ?? false)
        guard change.hasZeroFlag || !change.hasBacking else { throw .ENOTSUP }
        let units = range.aligned(outwardTo: image.geometry.subclusterSize)
        try await remove(units, change) { (piece) throws(Errno) in
            // What lies behind the end of the disk is nobody's.
            let end = min(units.upperBound, max(range.upperBound, self.length))
            for edge in [units.lowerBound..<range.lowerBound, range.upperBound..<end]
            where !edge.isEmpty && edge.overlaps(piece) {
                guard try await self.readsAsZeroes(edge) else { throw .ENOTSUP }
            }
        }
    }

    /// Gives up the clusters of the range, which read as zeroes then.
    ///
    /// Nothing happens above a backing file in version 2, where that cannot be said.
    public func discard(_ range: ByteRange) async throws(Errno) {
        let image = image
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let change = ClusterRemoval(
            kind: .discard, geometry: image.geometry, hasZeroFlag: image.header.version >= 3,
            hasBacking: backing != nil, keepsClusters: image.configuration.discardNoUnref ?? false)
        guard change.hasZeroFlag || !change.hasBacking else { return }
        try await remove(range.aligned(inwardTo: image.geometry.clusterSize), change)
    }

    /// Changes the entries of a range of whole subclusters, slice by slice, each after `check` has allowed it.
    func remove(
        _ range: ByteRange, _ change: ClusterRemoval, check: (ByteRange) async throws(Errno) -> Void = { _ in }
    ) async throws(Errno) {
        var start = range.lowerBound
        while start < range.upperBound {
            let piece = start..<min(range.upperBound, image.sliceRange(of: start).upperBound)
            let token = await changes.begin(
                piece.aligned(outwardTo: image.geometry.clusterSize), exclusive: true)
            defer { changes.end(token) }
            try await check(piece)
            try await removeClusters(piece, change)
            start = piece.upperBound
        }
    }

    /// Changes the entries of a range in one slice. The caller has the token.
    private func removeClusters(_ range: ByteRange, _ change: ClusterRemoval) async throws(Errno) {
        let image = image
        let isNeeded = try await image.withEntries(at: range.lowerBound) { (slice) throws(Errno) in
            try change.changes(slice, range)
        }
        guard isNeeded else { return }
        if let node = dataFile?.node, image.header.autoclearFeatures.contains(.rawDataFile) {
            // The file shows the disk on its own.
            try await node.writeZeroes(
                range.lowerBound..<min(range.upperBound, max(length, range.lowerBound)),
                flags: change.kind == .zero ? [] : .mayUnmap)
        }
        let former = try await image.changeEntries(at: range.lowerBound) { (slice) throws(Errno) in
            try change.apply(to: &slice, range)
        }
        let passes = image.configuration.passDiscardRequest ?? (image.node.options.discard == .unmap)
        for (guestOffset, entry) in former {
            if let node = dataFile?.node {
                guard passes, entry.clusterOffset(image.geometry) != nil else { continue }
                // Still under the token: a later write goes to the same place.
                try? await node.discard(guestOffset..<guestOffset + image.geometry.clusterSize)
            } else if !change.keepsClusters || entry.isCompressed {
                release(entry, reason: .guest)
            } else if passes, entry.isCopied, let host = entry.clusterOffset(image.geometry) {
                try? await file.node.discard(host..<host + image.geometry.clusterSize)
            }
        }
    }

    /// Gives up what an entry named, which no table in memory names any more.
    func release(_ entry: L2Entry, reason: Qcow2Image.ReleaseReason = .other) {
        // The clusters of a data file have no refcounts.
        guard dataFile == nil else { return }
        let geometry = image.geometry
        if entry.isCompressed {
            let extent = entry.compressedExtent(geometry)
            image.release(extent.offset..<extent.end, reason: reason)
        } else if let host = entry.clusterOffset(geometry), host % geometry.clusterSize == 0 {
            image.release(host..<host + geometry.clusterSize, reason: reason)
        }
    }

    /// Whether the range reads as zeroes as far as can be told without reading it.
    private func readsAsZeroes(_ range: ByteRange) async throws(Errno) -> Bool {
        var start = range.lowerBound
        while start < range.upperBound {
            let run = try await run(start..<range.upperBound)
            switch run.kind {
            case .zero: start += run.length
            case .data, .compressed: return false
            case .unallocated:
                guard let backing = backing?.node else {
                    start += run.length
                    continue
                }
                let (status, _) = try await backing.blockStatusAbove(base: nil, start..<start + run.length)
                if status.length == 0 {
                    start += run.length
                } else {
                    guard status.isZero else { return false }
                    start += status.length
                }
            }
        }
        return true
    }
}
