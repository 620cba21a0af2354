import BlockGraph
import IOLoop
import Qcow2Format

/// A part of a write request that is done in one way.
private struct WritePart: Sendable {
    /// Where the bytes are written as they lie there already; nil where clusters must be allocated.
    let hostOffset: Int64?
    let range: ByteRange
    let buffer: IOBuffer
}

extension Qcow2Driver {
    /// Writes in place where the guest's clusters belong to the active tables alone, else to new clusters. Durable after a
    /// flush. EIO: the range passes the end of the disk.
    public func write(_ range: ByteRange, from buffer: IOBuffer, flags: WriteFlags) async throws(Errno) {
        if flags.contains(.compressed) { return try await writeCompressed(range, from: buffer) }
        let image = image
        guard range.upperBound <= image.virtualSize else { throw .EIO }
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        try await writeMapped(range, from: buffer)
    }

    /// Writes within a request that has begun.
    func writeMapped(_ range: ByteRange, from buffer: IOBuffer) async throws(Errno) {
        let first = try await run(range)
        if first.length == range.length {
            guard first.isInPlace, let host = first.hostOffset else {
                return try await writeAllocating(range, from: buffer)
            }
            return try await writeInPlace(at: host, from: buffer)
        }
        let parts = try await writeParts(range, first, buffer)
        try await concurrently(parts, limit: Self.concurrency) { (part) throws(Errno) in
            if let host = part.hostOffset {
                try await self.writeInPlace(at: host, from: part.buffer)
            } else {
                try await self.writeAllocating(part.range, from: part.buffer)
            }
        }
    }

    /// Cuts a write up into what can be written in place and what cannot. What cannot ends at whole clusters.
    private func writeParts(
        _ range: ByteRange, _ first: GuestRun, _ buffer: IOBuffer
    ) async throws(Errno) -> [WritePart] {
        let clusterSize = image.geometry.clusterSize
        var parts: [WritePart] = []
        var allocatingFrom: Int64?
        func append(_ hostOffset: Int64?, _ start: Int64, _ end: Int64) {
            let memory = buffer[Int(start - range.lowerBound)..<Int(end - range.lowerBound)]
            parts.append(WritePart(hostOffset: hostOffset, range: start..<end, buffer: memory))
        }
        var start = range.lowerBound
        var run = first
        while true {
            if run.isInPlace, let host = run.hostOffset {
                if let from = allocatingFrom { append(nil, from, start) }
                allocatingFrom = nil
                append(host, start, start + run.length)
            } else {
                allocatingFrom = allocatingFrom ?? start
                // Two parts must not want the same cluster.
                run.length = min(range.upperBound, (start + run.length).alignedUp(to: clusterSize)) - start
            }
            start += run.length
            guard start < range.upperBound else { break }
            run = try await self.run(start..<range.upperBound)
        }
        if let from = allocatingFrom { append(nil, from, start) }
        return parts
    }

    /// Writes to clusters that belong to the active tables alone.
    func writeInPlace(at host: Int64, from buffer: IOBuffer) async throws(Errno) {
        let place = host..<host + Int64(buffer.count)
        let image = image
        if dataFile == nil { try await image.checkOverlap(of: place) }
        let node = image.dataNode
        if let sink = node.driver.debugEventSink { await sink.debugEvent(.writeAIO) }
        try await node.write(place, from: buffer)
    }

    /// Writes a range of which at least a part has no cluster that may be written to.
    private func writeAllocating(_ range: ByteRange, from buffer: IOBuffer) async throws(Errno) {
        var start = range.lowerBound
        while start < range.upperBound {
            let run = try await run(start..<range.upperBound)
            let end = min(range.upperBound, image.sliceRange(of: start).upperBound)
            let rest = start..<end
            let memory = buffer[Int(start - range.lowerBound)..<Int(end - range.lowerBound)]
            if run.isInPlace, let host = run.hostOffset {
                try await writeInPlace(at: host, from: memory[..<Int(run.length)])
                start += run.length
                continue
            }
            let clusters = rest.aligned(outwardTo: image.geometry.clusterSize)
            guard let token = changes.tryBegin(clusters, exclusive: true) else {
                await changes.waitUntilFree(clusters)
                continue
            }
            defer { changes.end(token) }
            start += try await writeToNewClusters(rest, from: memory)
        }
    }
}
