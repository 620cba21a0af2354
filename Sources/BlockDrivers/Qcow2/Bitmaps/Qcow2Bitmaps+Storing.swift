import BlockGraph
import IOLoop
import Qcow2Format

/// Storing bitmaps in an image.
extension Qcow2Bitmaps {
    /// Stores the persistent bitmaps of the node; on return they are durable and can be trusted.
    ///
    /// Until the header refers to the new directory, the old one counts, with bitmaps that are in use. Bitmaps that have
    /// become too large with the disk are lost; the person who runs the program is told.
    /// Errors: the image cannot be written; it has the old directory then.
    @GraphActor public func store() async throws(BlockError) {
        let bitmaps = current.filter { !$0.bitmap.isReadOnly }
        guard !bitmaps.isEmpty else { return }
        var directory = entries
        var replaced: [BitmapDirectoryEntry] = []
        var written: [ByteRange] = []
        do throws(BlockError) {
            for (name, bitmap) in bitmaps {
                guard let entry = try await write(name, bitmap, noting: &written) else { continue }
                if let place = directory.firstIndex(where: { $0.nameText == name }) {
                    replaced.append(directory[place])
                    directory[place] = entry
                } else {
                    directory.append(entry)
                }
            }
            try await publish(directory)
        } catch {
            for range in written { image.abandon(range) }
            throw error
        }
        for entry in replaced { await release(entry) }
    }

    @GraphActor public func removeStored(_ name: String) async throws(BlockError) {
        var directory = entries
        guard let place = directory.firstIndex(where: { $0.nameText == name }) else { return }
        let removed = directory.remove(at: place)
        try await publish(directory)
        await release(removed)
        // What leaks now leaks; the bitmap is gone.
        try? await image.commit()
    }

    /// What is left to do for a node that is about to be closed. Errors are told to the person who runs the program.
    @GraphActor public func storeForGood() async {
        do throws(BlockError) {
            try await store()
        } catch {
            complainOfLoss(error)
        }
    }

    private func complainOfLoss(_ error: BlockError) {
        image.node.graph.complain(
            "Lost persistent bitmaps during inactivation of node '\(image.node.name)': \(error.description)")
    }

    // MARK: Directory

    /// Writes a directory to a new place and lets the header refer to it, durably. On an error the old one stays.
    private func publish(_ directory: [BitmapDirectoryEntry]) async throws(BlockError) {
        let old = image.header.bitmaps
        do throws(Errno) {
            let bytes = try encode(directory)
            guard bytes.count <= Qcow2.maximumBitmapDirectorySize, directory.count <= Qcow2.maximumBitmaps else {
                throw .EFBIG
            }
            var place: Qcow2BitmapsExtension?
            var range: ByteRange = 0..<0
            if !directory.isEmpty {
                range = try await image.writeNewStructure(count: bytes.count) { $0.copyBytes(from: bytes) }
                place = Qcow2BitmapsExtension(
                    bitmapCount: UInt32(directory.count), directorySize: UInt64(bytes.count),
                    directoryOffset: UInt64(range.lowerBound))
            }
            do throws(Errno) {
                try await switchDirectory(to: place)
            } catch {
                image.abandon(range)
                throw error
            }
        } catch {
            throw BlockError("Failed to update bitmap extension", causedBy: error)
        }
        entries = directory
        if let old, let range = ByteRange(offset: Int64(clamping: old.directoryOffset), count: Int64(old.directorySize))
        {
            image.release(range, reason: .other)
        }
    }

    private func switchDirectory(to place: Qcow2BitmapsExtension?) async throws(Errno) {
        // The refcounts of what was written, and the data, come first.
        try await image.commit()
        try await image.updateHeader { header in
            header.bitmaps = place
            if place == nil {
                header.autoclearFeatures.remove(.bitmaps)
            } else {
                header.autoclearFeatures.insert(.bitmaps)
            }
        }
    }

    /// The bytes of a directory. EFBIG: a name is too long.
    func encode(_ directory: [BitmapDirectoryEntry]) throws(Errno) -> [UInt8] {
        var bytes: [UInt8] = []
        for entry in directory {
            do {
                bytes += try entry.encoded()
            } catch {
                throw .EFBIG
            }
        }
        return bytes
    }

    // MARK: Bitmaps

    /// Writes a bitmap to a new place, not durably: its entry; nil where it cannot be stored any more.
    private func write(
        _ name: String, _ bitmap: DirtyBitmap, noting written: inout [ByteRange]
    ) async throws(BlockError) -> BitmapDirectoryEntry? {
        let info = bitmap.info
        do throws(BlockError) {
            // The directory cannot describe the bitmap of a disk of no length.
            guard image.virtualSize > 0 else { throw BlockError("The disk is empty") }
            try Self.checkSize(length: image.virtualSize, granularity: info.granularity)
        } catch {
            complainOfLoss(BlockError("Bitmap '\(name)' doesn't satisfy the constraints: \(error.description)"))
            return nil
        }
        do throws(Errno) {
            let table = try await writeData(bitmap.bitsToStore, noting: &written)
            let range = try await image.writeNewTable(table.map(\.rawValue))
            written.append(range)
            return BitmapDirectoryEntry(
                name: storedName(name), granularityBits: info.granularity.trailingZeroBitCount,
                flags: info.recording ? .auto : [], tableOffset: range.lowerBound, tableSize: table.count)
        } catch {
            throw BlockError("Failed to write bitmap '\(name)' to file", causedBy: error)
        }
    }

    /// The bytes of a name as the image has them, which need not be text.
    private func storedName(_ name: String) -> [UInt8] {
        entries.first { $0.nameText == name }?.name ?? Array(name.utf8)
    }

    /// Writes the data of a bitmap, without what is all zeroes or all ones: its table.
    private func writeData(
        _ bits: HierarchicalBitmap, noting written: inout [ByteRange]
    ) async throws(Errno) -> [BitmapTableEntry] {
        let size = Int(image.geometry.clusterSize)
        let count = BitmapDirectoryEntry.tableSize(
            virtualSize: bits.length, granularity: bits.granularity, image.geometry)
        var table: [BitmapTableEntry] = []
        let buffer = BufferPool.shared.take(count: size)
        defer { BufferPool.shared.give(buffer) }
        for index in 0..<Int(count) {
            let range = bits.diskRange(ofSerialized: index * size, count: size)
            if bits.isClean(throughout: range) {
                table.append(.allZeroes)
                continue
            }
            // Bits beyond the end of the disk must be zero.
            let isWhole = range.length / bits.granularity == Int64(size) * 8
            if isWhole, bits.isDirty(throughout: range) {
                table.append(.allOnes)
                continue
            }
            bits.copySerialized(from: index * size, into: buffer.bytes)
            let place = try await image.allocateClusters(atMost: 1)
            written.append(place)
            try await image.checkOverlap(of: place)
            try await image.file.node.write(place, from: buffer)
            table.append(BitmapTableEntry(offset: place.lowerBound))
        }
        return table
    }

    /// Releases the clusters of a bitmap that the directory does not have any more. What cannot be read leaks.
    private func release(_ entry: BitmapDirectoryEntry) async {
        let offset = Int64(entry.tableOffset)
        do throws(Errno) {
            for data in try await readTable(of: entry) where data.offset != 0 {
                image.release(data.offset..<data.offset + image.geometry.clusterSize, reason: .other)
            }
        } catch {
            return
        }
        image.release(offset..<offset + 8 * Int64(entry.tableSize), reason: .other)
    }
}

extension Qcow2Image {
    /// Writes bytes of the image file.
    func writeBytes(_ bytes: [UInt8], at offset: Int64) async throws(Errno) {
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        buffer.bytes.copyBytes(from: bytes)
        try await file.node.write(offset..<offset + Int64(bytes.count), from: buffer)
    }
}
