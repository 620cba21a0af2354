import BlockGraph
import IOLoop
import Qcow2Format

extension Qcow2Driver {
    /// Sets clusters aside for a range behind the end of the disk, where nothing is allocated: they read as zeroes.
    ///
    /// The range begins at a whole cluster. With `falloc` their space is allocated in the file, with `full` written.
    func preallocate(_ range: ByteRange, _ mode: Preallocation) async throws(Errno) {
        let image = image
        let clusterSize = image.geometry.clusterSize
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(range.upperBound, image.sliceRange(of: start).upperBound).alignedUp(to: clusterSize)
            guard dataFile == nil else {
                // The place is given, and the file has been made long enough.
                try await point(start..<end, to: start)
                start = end
                continue
            }
            let place = try await image.allocateClusters(atMost: Int((end - start) / clusterSize))
            do {
                try await clear(place, mode)
                try await point(start..<start + place.length, to: place.lowerBound)
            } catch {
                image.abandon(place)
                throw error
            }
            start += place.length
        }
    }

    /// Points the entries of a range in one slice to clusters in a row.
    private func point(_ range: ByteRange, to host: Int64) async throws(Errno) {
        let geometry = image.geometry
        // With subclusters the space is there, but the bytes are said to be zeroes: the backing file must not show.
        let subclusters: UInt64 = geometry.hasSubclusters ? UInt64(UInt32.max) << 32 : 0
        try await image.changeEntries(at: range.lowerBound) { slice in
            for (number, index) in (slice.index(of: range.lowerBound)...slice.index(of: range.upperBound - 1))
                .enumerated()
            {
                slice[index] = L2Entry(
                    hostOffset: host + Int64(number) * geometry.clusterSize, isCopied: true, subclusters: subclusters)
            }
        }
    }

    /// Makes new clusters read as zeroes.
    private func clear(_ place: ByteRange, _ mode: Preallocation) async throws(Errno) {
        let node = file.node
        try await image.checkOverlap(of: place)
        switch mode {
        case .off, .metadata:
            guard place.lowerBound < node.length else {
                // The last byte is enough to make the file longer.
                return try await node.writeZeroes(place.upperBound - 512..<place.upperBound, flags: .mayUnmap)
            }
            try await node.writeZeroes(place, flags: .mayUnmap)
        case .falloc: try await node.writeZeroes(place)
        case .full:
            let size = min(place.length, 1 << 20)
            let zeroes = BufferPool.shared.take(count: Int(size))
            defer { BufferPool.shared.give(zeroes) }
            zeroes.fill(0)
            for piece in place.pieces(ofAtMost: size) {
                try await node.write(piece, from: zeroes[0..<Int(piece.length)])
            }
        }
    }
}
