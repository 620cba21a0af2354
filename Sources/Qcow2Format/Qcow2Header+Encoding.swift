extension Qcow2Header {
    /// The bytes of the header area: header, extensions in QEMU's order, end mark, and backing file name.
    ///
    /// The bytes are fewer than a cluster as a rule; the rest of the cluster is to be written as zeroes where other
    /// bytes might be. Unknown feature bits, fields, and extensions are kept.
    /// - Throws: ``Qcow2FormatError`` of kind `noSpace` if the bytes do not fit into one cluster, `invalid` if a
    ///   field is beyond what its bytes can hold.
    public func encoded() throws(Qcow2FormatError) -> [UInt8] {
        try checkEncodable()
        var tail: [UInt8] = []
        for item in orderedExtensions { item.append(to: &tail) }
        tail.append(bigEndian: UInt64(0))
        var bytes = fixedFields(backingOffset: headerLength + tail.count)
        bytes.append(contentsOf: tail)
        if let backingFile { bytes.append(contentsOf: backingFile) }
        if bytes.count > clusterSize {
            throw Qcow2FormatError("Could not update qcow2 header: No space left on device", kind: .noSpace)
        }
        return bytes
    }

    /// The known extensions in QEMU's order, then the unknown ones.
    private var orderedExtensions: [Qcow2HeaderExtension] {
        (0...5).flatMap { rank in extensions.filter { $0.kind.rank == rank } }
    }

    private func checkEncodable() throws(Qcow2FormatError) {
        let version2 = version == 2
        let valid =
            (version == 2 || version == 3)
            && (Qcow2.minimumClusterBits...Qcow2.maximumClusterBits).contains(clusterBits)
            && (0...Qcow2.maximumRefcountOrder).contains(refcountOrder)
            && virtualSize >= 0 && l1TableOffset >= 0 && refcountTableOffset >= 0 && snapshotsOffset >= 0
            && UInt32(exactly: l1Size) != nil && UInt32(exactly: refcountTableClusters) != nil
            && UInt32(exactly: snapshotCount) != nil
            && (backingFile?.count ?? 0) <= Qcow2.maximumBackingFileNameLength
            && (!version2 || (refcountOrder == 4 && incompatibleFeatures.isEmpty && compatibleFeatures.isEmpty))
            && (!version2 || (autoclearFeatures.isEmpty && compressionType == .zlib && unknownFields.isEmpty))
        if !valid { throw Qcow2FormatError("Header field out of range") }
    }

    private func fixedFields(backingOffset: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1024)
        bytes.append(bigEndian: Qcow2.magic)
        bytes.append(bigEndian: UInt32(version))
        bytes.append(bigEndian: backingFile == nil ? 0 : UInt64(backingOffset))
        bytes.append(bigEndian: UInt32(backingFile?.count ?? 0))
        bytes.append(bigEndian: UInt32(clusterBits))
        bytes.append(bigEndian: virtualSize)
        bytes.append(bigEndian: encryptionMethod.rawValue)
        bytes.append(bigEndian: UInt32(l1Size))
        bytes.append(bigEndian: l1TableOffset)
        bytes.append(bigEndian: refcountTableOffset)
        bytes.append(bigEndian: UInt32(refcountTableClusters))
        bytes.append(bigEndian: UInt32(snapshotCount))
        bytes.append(bigEndian: snapshotsOffset)
        if version == 2 { return bytes }
        bytes.append(bigEndian: incompatibleFeatures.rawValue)
        bytes.append(bigEndian: compatibleFeatures.rawValue)
        bytes.append(bigEndian: autoclearFeatures.rawValue)
        bytes.append(bigEndian: UInt32(refcountOrder))
        bytes.append(bigEndian: UInt32(headerLength))
        bytes.append(compressionType.rawValue)
        bytes.pad(to: 8)
        bytes.append(contentsOf: unknownFields)
        bytes.pad(to: 8)
        return bytes
    }
}

extension Qcow2HeaderExtension {
    /// Appends type, length, data, and padding.
    func append(to bytes: inout [UInt8]) {
        bytes.append(bigEndian: kind.rawValue)
        bytes.append(bigEndian: UInt32(truncatingIfNeeded: data.count))
        bytes.append(contentsOf: data)
        bytes.pad(to: 8)
    }
}
