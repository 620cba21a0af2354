extension Qcow2Header {
    /// Refcount table, snapshot table, L1 table, and the virtual size.
    mutating func parseTables(
        _ bytes: UnsafeRawBufferPointer, allowingBrokenSnapshots: Bool
    ) throws(Qcow2FormatError) {
        let clusters = bytes.zeroExtended(at: 56, as: UInt32.self)
        if clusters == 0 { throw Qcow2FormatError("Image does not contain a reference count table") }
        let refcounts = bytes.zeroExtended(at: 48, as: UInt64.self)
        refcountTableOffset = try checkedTable(
            "Reference count table", offset: refcounts, entries: UInt64(clusters), entrySize: UInt64(clusterSize),
            limit: UInt64(Qcow2.maximumRefcountTableSize))
        refcountTableClusters = Int(clusters)

        let snapshots = bytes.zeroExtended(at: 60, as: UInt32.self)
        let snapshotsAt = bytes.zeroExtended(at: 64, as: UInt64.self)
        snapshotsOffset =
            allowingBrokenSnapshots
            ? Int64(bitPattern: snapshotsAt)
            : try checkedTable(
                "Snapshot table", offset: snapshotsAt, entries: UInt64(snapshots), entrySize: 40,
                limit: UInt64(Qcow2.maximumSnapshots) * 40)
        snapshotCount = Int(snapshots)

        let l1 = bytes.zeroExtended(at: 36, as: UInt32.self)
        let l1At = bytes.zeroExtended(at: 40, as: UInt64.self)
        l1TableOffset = try checkedTable(
            "Active L1 table", offset: l1At, entries: UInt64(l1), entrySize: 8,
            limit: UInt64(Qcow2.maximumL1TableSize))
        l1Size = Int(l1)
        try parseVirtualSize(bytes.zeroExtended(at: 24, as: UInt64.self))
    }

    /// Checks the place of a table as QEMU does, and returns its offset.
    func checkedTable(
        _ name: String, offset: UInt64, entries: UInt64, entrySize: UInt64, limit: UInt64
    ) throws(Qcow2FormatError) -> Int64 {
        if entries > limit / entrySize { throw Qcow2FormatError("\(name) too large", kind: .tooBig) }
        let last = UInt64(Int64.max) - entries * entrySize
        if offset > last || offset % UInt64(clusterSize) != 0 { throw Qcow2FormatError("\(name) offset invalid") }
        return Int64(offset)
    }

    private mutating func parseVirtualSize(_ size: UInt64) throws(Qcow2FormatError) {
        let shift = UInt64(clusterBits + geometry.l2EntryCountBits)
        let (rounded, overflow) = size.addingReportingOverflow((1 << shift) - 1)
        if overflow {
            throw Qcow2FormatError("Could not refresh total sector count: File too large", kind: .tooBig)
        }
        let needed = rounded >> shift
        if needed > UInt64(Int32.max) { throw Qcow2FormatError("Image is too big", kind: .tooBig) }
        if needed > UInt64(l1Size) { throw Qcow2FormatError("L1 table is too small") }
        // A size of 2^63 or more needs more than 2^22 entries at any cluster size, and so was refused above.
        virtualSize = Int64(truncatingIfNeeded: size)
    }
}

extension Qcow2Header {
    /// Reads the extensions between `start` and `end`.
    static func extensions(
        _ bytes: UnsafeRawBufferPointer, at start: Int, end: Int
    ) throws(Qcow2FormatError) -> [Qcow2HeaderExtension] {
        var result: [Qcow2HeaderExtension] = []
        var offset = start
        while offset < end {
            let kind = Qcow2HeaderExtension.Kind(rawValue: bytes.zeroExtended(at: offset))
            let length = Int(bytes.zeroExtended(at: offset + 4, as: UInt32.self))
            offset += 8
            if offset > end || length > end - offset {
                throw Qcow2FormatError("Header extension too large")
            }
            if kind == .end { break }
            if kind == .backingFormat, length > Qcow2.maximumBackingFormatLength {
                throw Qcow2FormatError("ERROR: ext_backing_format: len=\(length) too large (>=16)")
            }
            result.append(Qcow2HeaderExtension(kind, bytes.zeroExtendedBytes(at: offset, length: length)))
            offset += (length + 7) / 8 * 8
        }
        return result
    }

    /// Checks the extensions that point to other structures.
    func checkExtensions() throws(Qcow2FormatError) {
        for item in extensions {
            switch item.kind {
            case .bitmaps:
                _ = try Qcow2BitmapsExtension(parsing: item.data, clusterSize: clusterSize)
            case .encryptionHeader:
                if encryptionMethod != .luks {
                    throw Qcow2FormatError("CRYPTO header extension only expected with LUKS encryption method")
                }
                _ = try Qcow2EncryptionHeaderPointer(parsing: item.data, clusterSize: clusterSize)
            default: break
            }
        }
        if encryptionMethod == .luks, self[.encryptionHeader] == nil {
            throw Qcow2FormatError("Missing CRYPTO header for crypt method 2")
        }
    }
}

extension Qcow2EncryptionHeaderPointer {
    /// Reads the data of an extension.
    ///
    /// - Throws: ``Qcow2FormatError`` if the length is not 16, or the offset is not a multiple of the cluster size.
    public init(parsing data: [UInt8], clusterSize: Int64) throws(Qcow2FormatError) {
        guard data.count == 16 else {
            throw Qcow2FormatError("CRYPTO header extension size \(data.count), but expected size 16")
        }
        let fields = data.withUnsafeBytes {
            ($0.zeroExtended(at: 0, as: UInt64.self), $0.zeroExtended(at: 8, as: UInt64.self))
        }
        self.init(offset: fields.0, length: fields.1)
        if offset % UInt64(clusterSize) != 0 {
            throw Qcow2FormatError(
                "Encryption header offset '\(offset)' is not a multiple of cluster size '\(clusterSize)'")
        }
    }
}
