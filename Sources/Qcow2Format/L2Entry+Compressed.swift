/// Where the data of a compressed cluster is.
public struct Qcow2CompressedExtent: Sendable, Hashable {
    /// Offset of the first byte in the file.
    public var offset: Int64
    /// Bytes up to the end of the last sector: the data is at most so long.
    public var byteCount: Int64

    /// Makes an extent.
    @inlinable public init(offset: Int64, byteCount: Int64) {
        self.offset = offset
        self.byteCount = byteCount
    }

    /// The offset behind the last sector.
    @inlinable public var end: Int64 { offset + byteCount }
}

/// The descriptor of compressed clusters. Spec: qcow2.txt, "Compressed Clusters Descriptor".
extension Qcow2Geometry {
    /// The bit at which the number of additional sectors starts.
    @inlinable public var compressedSizeShift: UInt64 { UInt64(62 - (clusterBits - 8)) }
    /// The bits of the offset in a descriptor.
    @inlinable public var compressedOffsetMask: UInt64 { (1 << compressedSizeShift) - 1 }
    /// Greatest number of additional sectors.
    @inlinable public var maximumAdditionalSectors: UInt64 { (1 << UInt64(clusterBits - 8)) - 1 }
    /// The first offset at which compressed data cannot start: 2^56, or less with large clusters.
    @inlinable public var compressedOffsetLimit: Int64 { Int64(min(compressedOffsetMask, Qcow2.lowOffsetMask)) + 1 }
}

extension L2Entry {
    /// Where the data of this compressed cluster is. The offset is as stored: it may be beyond any file.
    @inlinable public func compressedExtent(_ geometry: Qcow2Geometry) -> Qcow2CompressedExtent {
        let offset = Int64(rawValue & geometry.compressedOffsetMask)
        let additional = rawValue >> geometry.compressedSizeShift & geometry.maximumAdditionalSectors
        let sectors = Int64(additional) + 1
        return Qcow2CompressedExtent(
            offset: offset, byteCount: sectors * Qcow2.sectorSize - (offset & (Qcow2.sectorSize - 1)))
    }

    /// Makes the entry of a compressed cluster whose data is `byteCount` bytes at `offset`.
    ///
    /// - Returns: nil if the offset is at or beyond ``Qcow2Geometry/compressedOffsetLimit``, the data is empty, or it
    ///   needs more sectors than the descriptor can count.
    @inlinable public init?(compressedAt offset: Int64, byteCount: Int64, _ geometry: Qcow2Geometry) {
        guard offset >= 0, offset < geometry.compressedOffsetLimit, byteCount > 0, byteCount <= 2 * geometry.clusterSize
        else { return nil }
        let first = offset / Qcow2.sectorSize
        let additional = UInt64((offset + byteCount - 1) / Qcow2.sectorSize - first)
        guard additional <= geometry.maximumAdditionalSectors else { return nil }
        rawValue = UInt64(offset) | additional << geometry.compressedSizeShift | Qcow2.compressedFlag
        subclusters = 0
    }
}
