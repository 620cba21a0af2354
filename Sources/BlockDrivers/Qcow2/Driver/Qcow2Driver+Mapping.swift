import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// What the tables say of the longest run of one kind from the start of the range, which is not empty.
    ///
    /// The answer holds until the request's epoch ends as far as the data lie there; who wants to change entries asks
    /// again under a token.
    func run(_ range: ByteRange) async throws(Errno) -> GuestRun {
        let image = image
        let geometry = image.geometry
        let start = range.lowerBound
        do {
            return try await image.withEntries(at: start) { (slice) throws(Errno) -> GuestRun in
                guard let slice else {
                    let end = min(range.upperBound, image.sliceRange(of: start).upperBound)
                    return GuestRun(kind: .unallocated, length: end - start, hostOffset: nil, entry: L2Entry())
                }
                return try slice.run(from: start, to: range.upperBound, geometry: geometry)
            }
        } catch .EUCLEAN {
            throw await reportBadEntry(at: start)
        }
    }

    /// Tells of an entry that makes no sense: the error for the request.
    private func reportBadEntry(at offset: Int64) async -> Errno {
        let image = image
        let place = try? await image.withEntries(at: offset) { slice in
            slice.map { slice in
                (entry: slice[slice.index(of: offset)], table: slice.hostOffset, index: slice.index(of: offset))
            }
        }
        guard let place else { return .EIO }
        let host = place.entry.hostOffset
        return await image.reportCorruption(
            """
            Cluster allocation offset 0x\(hex(host)) unaligned (L2 offset: 0x\(hex(place.table)), \
            L2 index: \(prefixedHex(place.index)))
            """)
    }

    /// Whether the range is known to read as zeroes without reading data.
    func isKnownZero(_ range: ByteRange) async throws(Errno) -> Bool {
        var start = range.lowerBound
        // What lies behind the end of the disk was never written.
        let end = min(range.upperBound, length)
        while start < end {
            let run = try await run(start..<end)
            switch run.kind {
            case .zero: break
            case .unallocated:
                if let backing = currentBackingNode, start < backing.length { return false }
            case .data, .compressed: return false
            }
            start += run.length
        }
        return true
    }

    /// The node of the backing file.
    var currentBackingNode: BlockNode? { backing?.node }

    /// Fires a debug event of the data file.
    func fire(_ event: DebugEvent) async {
        if let sink = image.dataNode.driver.debugEventSink { await sink.debugEvent(event) }
    }
}
