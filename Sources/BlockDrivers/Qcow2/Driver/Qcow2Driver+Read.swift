import BlockGraph
import Compression
import IOLoop
import Qcow2Format

/// A part of a read request that is of one kind.
private struct ReadPart: Sendable {
    let run: GuestRun
    let range: ByteRange
    let buffer: IOBuffer
}

extension Qcow2Driver {
    /// Reads from the data file, the backing file and compressed clusters; parts that lie in several places at the same
    /// time.
    public func read(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let image = image
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        try await readMapped(range, into: buffer)
    }

    /// Reads within a request that has begun.
    func readMapped(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let first = try await run(range)
        if first.length == range.length { return try await read(first, range, into: buffer) }
        var parts: [ReadPart] = []
        var current = first
        var start = range.lowerBound
        while true {
            let end = start + current.length
            let memory = buffer[Int(start - range.lowerBound)..<Int(end - range.lowerBound)]
            if current.kind == .zero {
                memory.fill(0)
            } else {
                parts.append(ReadPart(run: current, range: start..<end, buffer: memory))
            }
            guard end < range.upperBound else { break }
            start = end
            current = try await run(start..<range.upperBound)
        }
        try await concurrently(parts, limit: Self.concurrency) { (part) throws(Errno) in
            try await self.read(part.run, part.range, into: part.buffer)
        }
    }

    /// Reads a run.
    private func read(_ run: GuestRun, _ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        switch run.kind {
        case .zero: buffer.fill(0)
        case .unallocated:
            guard let backing = backing?.node else { return buffer.fill(0) }
            if let sink = file.node.driver.debugEventSink { await sink.debugEvent(.readBackingAIO) }
            try await backing.read(range, into: buffer)
        case .compressed: try await readCompressed(run.entry, range, into: buffer)
        case .data:
            guard let host = run.hostOffset else { throw .EIO }
            let node = image.dataNode
            if let sink = node.driver.debugEventSink { await sink.debugEvent(.readAIO) }
            try await node.read(host..<host + range.length, into: buffer)
        }
    }

    /// Reads a part of a compressed cluster. EIO: the cluster is damaged.
    private func readCompressed(_ entry: L2Entry, _ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let geometry = image.geometry
        let extent = entry.compressedExtent(geometry)
        let node = file.node
        if let sink = node.driver.debugEventSink { await sink.debugEvent(.readCompressed) }
        let input = BufferPool.shared.take(count: Int(extent.byteCount))
        defer { BufferPool.shared.give(input) }
        try await node.read(extent.offset..<extent.end, into: input)
        if buffer.count == Int(geometry.clusterSize) { return try await decompress(input, into: buffer) }
        let cluster = BufferPool.shared.take(count: Int(geometry.clusterSize))
        defer { BufferPool.shared.give(cluster) }
        try await decompress(input, into: cluster)
        let start = Int(range.lowerBound & (geometry.clusterSize - 1))
        buffer.copy(from: cluster[start..<start + buffer.count])
    }

    private func decompress(_ input: IOBuffer, into output: IOBuffer) async throws(Errno) {
        let compressor = compressor
        let isWhole = await CompressionLoops.run {
            compressor.decompress(UnsafeRawBufferPointer(input.bytes), into: output.bytes)
        }
        guard isWhole else { throw .EIO }
    }
}
