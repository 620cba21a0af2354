import BlockGraph
import IOLoop
import Qcow2Format

/// Counting the clusters of persistent bitmaps.
extension Qcow2Checker {
    /// Reads the bitmap directory, if the header says that it is consistent. Errors: those of opening such an image.
    func readBitmapDirectory() async throws(BlockError) {
        guard header.version >= 3, header.autoclearFeatures.contains(.bitmaps), let place = header.bitmaps else {
            return
        }
        if place.directorySize == 0 { throw BlockError("Requested bitmap directory size is zero", errno: .EINVAL) }
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try await read(place.directoryOffset, Int(place.directorySize))
        } catch {
            throw BlockError("Failed to read bitmap directory", causedBy: error)
        }
        do {
            bitmaps = try parseDirectory(bytes, count: Int(place.bitmapCount))
        } catch {
            throw BlockError(error)
        }
    }

    private func parseDirectory(
        _ bytes: [UInt8], count: Int
    ) throws(Qcow2FormatError) -> [BitmapDirectoryEntry] {
        let parsed = bytes.withUnsafeBytes { bytes in
            Result { () throws(Qcow2FormatError) in
                try BitmapDirectoryEntry.directory(
                    bytes, count: count, geometry: geometry, virtualSize: header.virtualSize)
            }
        }
        return try parsed.get()
    }

    /// Counts the directory, the tables, and the data of all bitmaps.
    func countBitmaps() async throws(Errno) {
        guard !bitmaps.isEmpty, let place = header.bitmaps else { return }
        count(place.directoryOffset, Int64(place.directorySize))
        for bitmap in bitmaps {
            count(bitmap.tableOffset, Int64(bitmap.tableSize) * 8)
            // Entries beyond the end of the file read as zeroes, which are no clusters.
            let inside = max(0, fileLength - Int64(bitmap.tableOffset)) / 8
            let table = try await readTable(bitmap.tableOffset, entryCount: min(Int(bitmap.tableSize), Int(inside)))
            for raw in table {
                let entry = BitmapTableEntry(rawValue: raw)
                if !entry.isValid(geometry) {
                    result.corruptions += 1
                } else if entry.offset != 0 {
                    count(UInt64(entry.offset), geometry.clusterSize)
                }
            }
        }
    }
}
