import BlockGraph
import IOLoop
import Qcow2Format

/// Reading bitmaps from an image.
extension Qcow2Bitmaps {
    /// Reads and checks the bitmap directory.
    static func readDirectory(
        _ place: Qcow2BitmapsExtension, of image: Qcow2Image
    ) async throws(BlockError) -> [BitmapDirectoryEntry] {
        guard place.directorySize > 0 else { throw BlockError("Requested bitmap directory size is zero") }
        guard place.directoryOffset > 0, place.directorySize <= UInt64(Qcow2.maximumBitmapDirectorySize),
            let range = ByteRange(offset: Int64(clamping: place.directoryOffset), count: Int64(place.directorySize))
        else { throw BlockError("Broken bitmap directory") }
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try await image.readBytes(range)
        } catch {
            throw BlockError("Failed to read bitmap directory", causedBy: error)
        }
        let entries = try parse(bytes, geometry: image.geometry)
        if entries.count < Int(place.bitmapCount) {
            throw BlockError("Less bitmaps found than specified in header extension")
        }
        if entries.count > Int(place.bitmapCount) {
            throw BlockError("More bitmaps found than specified in header extension")
        }
        return entries
    }

    private static func parse(
        _ bytes: [UInt8], geometry: Qcow2Geometry
    ) throws(BlockError) -> [BitmapDirectoryEntry] {
        var entries: [BitmapDirectoryEntry] = []
        var place = 0
        while place < bytes.count {
            let entry = bytes.withUnsafeBytes { bytes in
                BitmapDirectoryEntry(parsing: UnsafeRawBufferPointer(rebasing: bytes[place...]))
            }
            guard let entry else { throw BlockError("Broken bitmap directory") }
            if !entry.extraData.isEmpty { throw BlockError("Bitmap extra data is not supported") }
            guard satisfiesConstraints(entry, geometry) else {
                throw BlockError("Bitmap '\(entry.nameText)' doesn't satisfy the constraints")
            }
            entries.append(entry)
            place += entry.byteCount
        }
        return entries
    }

    /// Whether an entry describes a bitmap, be it in use or not.
    private static func satisfiesConstraints(_ entry: BitmapDirectoryEntry, _ geometry: Qcow2Geometry) -> Bool {
        entry.name.count <= Qcow2.maximumBitmapNameLength && entry.type == BitmapDirectoryEntry.dirtyTracking
            && entry.flags.isSubset(of: [.inUse, .auto]) && entry.granularity != nil
            && entry.tableOffset > 0 && entry.tableOffset <= UInt64(Int64.max)
            && Int64(entry.tableOffset) & geometry.clusterMask == 0
            && entry.tableSize > 0 && Int(entry.tableSize) <= Qcow2.maximumBitmapTableSize
            && Int64(entry.tableSize) * geometry.clusterSize <= maximumDataSize
    }

    /// Reads a bitmap. One that is in use comes as inconsistent.
    func read(_ entry: BitmapDirectoryEntry) async throws(BlockError) -> DirtyBitmap {
        let name = entry.nameText
        let (length, granularity) = (image.virtualSize, entry.granularity ?? 0)
        let bitmap = DirtyBitmap(
            name: name, length: length, granularity: granularity, recording: entry.flags.contains(.auto),
            persistent: true)
        if entry.flags.contains(.inUse) {
            bitmap.markInconsistent()
            return bitmap
        }
        let needed = BitmapDirectoryEntry.tableSize(
            virtualSize: length, granularity: granularity, image.geometry)
        guard Int64(entry.tableSize) == needed else {
            throw BlockError("Could not read bitmap '\(name)' from image", causedBy: .EINVAL)
        }
        let table: [BitmapTableEntry]
        do throws(Errno) {
            table = try await readTable(of: entry)
        } catch {
            throw BlockError("Could not read bitmap_table table from image for bitmap '\(name)'", causedBy: error)
        }
        do throws(Errno) {
            let bits = try await readData(table, into: bitmap.snapshot())
            bitmap.restore(bits, keepingWrites: false)
        } catch {
            throw BlockError("Could not read bitmap '\(name)' from image", causedBy: error)
        }
        return bitmap
    }

    /// The table of a bitmap. EINVAL: an entry makes no sense.
    func readTable(of entry: BitmapDirectoryEntry) async throws(Errno) -> [BitmapTableEntry] {
        let words = try await image.readTable(at: Int64(entry.tableOffset), count: Int(entry.tableSize))
        let table = words.map(BitmapTableEntry.init(rawValue:))
        guard table.allSatisfy({ $0.isValid(image.geometry) }) else { throw .EINVAL }
        return table
    }

    /// Makes dirty in an empty bitmap what is dirty in the image.
    private func readData(
        _ table: [BitmapTableEntry], into empty: HierarchicalBitmap
    ) async throws(Errno) -> HierarchicalBitmap {
        var bits = empty
        let size = Int(image.geometry.clusterSize)
        let buffer = BufferPool.shared.take(count: size)
        defer { BufferPool.shared.give(buffer) }
        for (index, entry) in table.enumerated() {
            if entry.isAllOnes {
                bits.set(bits.diskRange(ofSerialized: index * size, count: size))
            } else if entry.offset != 0 {
                try await image.file.node.read(entry.offset..<entry.offset + Int64(size), into: buffer)
                bits.mergeSerialized(UnsafeRawBufferPointer(buffer.bytes), at: index * size)
            }
        }
        return bits
    }
}
