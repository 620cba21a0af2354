import BlockGraph
import Compression
import IOLoop
import Qcow2Format
import Synchronization

/// A cluster to be written in compressed form.
private struct ClusterData: Sendable {
    let range: ByteRange
    let buffer: IOBuffer
}

extension Qcow2Driver {
    /// Writes whole clusters in compressed form, several at the same time; those that do not get smaller as they are.
    ///
    /// ENOTSUP: there is an external data file. EINVAL: the range is not one of whole clusters, but for the end of the disk.
    /// EIO: a cluster has been allocated before.
    func writeCompressed(_ range: ByteRange, from buffer: IOBuffer) async throws(Errno) {
        guard dataFile == nil else { throw .ENOTSUP }
        let image = image
        let size = image.geometry.clusterSize
        guard range.lowerBound % size == 0, range.upperBound % size == 0 || range.upperBound == length else {
            throw .EINVAL
        }
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let clusters = range.pieces(ofAtMost: size).map { piece in
            let start = Int(piece.lowerBound - range.lowerBound)
            return ClusterData(range: piece, buffer: buffer[start..<start + Int(piece.length)])
        }
        try await concurrently(clusters, limit: Self.concurrency) { (cluster) throws(Errno) in
            try await self.writeCompressed(cluster)
        }
    }

    private func writeCompressed(_ cluster: ClusterData) async throws(Errno) {
        let output = BufferPool.shared.take(count: Int(image.geometry.clusterSize))
        defer { BufferPool.shared.give(output) }
        guard let count = await compress(cluster.buffer, into: output) else {
            return try await writeMapped(cluster.range, from: cluster.buffer)
        }
        let token = await changes.begin(
            cluster.range.aligned(outwardTo: image.geometry.clusterSize), exclusive: true)
        defer { changes.end(token) }
        let former = try await run(cluster.range)
        // An entry that names a host cluster has one place for all its subclusters.
        guard former.kind == .unallocated || former.kind == .zero, former.hostOffset == nil else { throw .EIO }
        try await store(output[..<count], at: cluster.range.lowerBound)
    }

    /// The size of the compressed data; nil where they are not smaller.
    private func compress(_ buffer: IOBuffer, into output: IOBuffer) async -> Int? {
        let compressor = compressor
        let room = output[..<(output.count - 1)]
        if buffer.count == output.count {
            return await CompressionLoops.run {
                compressor.compress(UnsafeRawBufferPointer(buffer.bytes), into: room.bytes)
            }
        }
        // The last cluster of the disk goes on in zeroes.
        let whole = BufferPool.shared.take(count: output.count)
        defer { BufferPool.shared.give(whole) }
        whole[..<buffer.count].copy(from: buffer)
        whole[buffer.count...].fill(0)
        return await CompressionLoops.run {
            compressor.compress(UnsafeRawBufferPointer(whole.bytes), into: room.bytes)
        }
    }

    /// Writes compressed data and points the entry there. The caller has the token.
    private func store(_ data: IOBuffer, at guestOffset: Int64) async throws(Errno) {
        let image = image
        let geometry = image.geometry
        // Tables lie in front of the data that they describe, as in images of QEMU.
        try await image.changeEntries(at: guestOffset) { _ in }
        let host = try await image.allocateBytes(data.count)
        let place = host..<host + Int64(data.count)
        guard let entry = L2Entry(compressedAt: host, byteCount: place.length, geometry) else {
            image.abandon(place)
            throw .EFBIG
        }
        _ = touchedEnd.max(place.upperBound.alignedUp(to: geometry.clusterSize), ordering: .relaxed)
        do {
            try await image.checkOverlap(of: place)
            if let sink = file.node.driver.debugEventSink { await sink.debugEvent(.writeCompressed) }
            try await file.node.write(place, from: data)
            try await image.changeEntries(at: guestOffset) { slice in
                slice[slice.index(of: guestOffset)] = entry
            }
        } catch {
            image.abandon(place)
            forgetPristine()
            throw error
        }
    }
}
