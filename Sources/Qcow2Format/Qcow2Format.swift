/// Constants and limits of the qcow2 format, and of what QEMU accepts of it.
///
/// Spec: qcow2.txt. Where the specification leaves a limit to the implementation, the limit is QEMU's.
public enum Qcow2 {
    /// The first four bytes of an image: `QFI\xfb`.
    public static let magic: UInt32 = 0x5146_49fb
    /// Smallest exponent of the cluster size: clusters of 512 bytes.
    public static let minimumClusterBits = 9
    /// Greatest exponent of the cluster size that QEMU opens: clusters of 2 MiB.
    public static let maximumClusterBits = 21
    /// Smallest exponent of the cluster size with extended L2 entries: subclusters of 512 bytes.
    public static let minimumExtendedClusterBits = 14
    /// Subclusters in a cluster of an image with extended L2 entries.
    public static let subclustersPerCluster = 32
    /// Greatest exponent of the width of a refcount: 64 bits.
    public static let maximumRefcountOrder = 6
    /// The order of version 2 images and the default of version 3: 16 bits.
    public static let defaultRefcountOrder = 4
    /// Bytes of a version 2 header.
    public static let version2HeaderLength = 72
    /// The fewest bytes of a version 3 header.
    public static let minimumVersion3HeaderLength = 104
    /// Bytes of the version 3 header that is written: through the compression type and its padding.
    public static let version3HeaderLength = 112
    /// Greatest size of an L1 table in bytes: 32 MiB.
    public static let maximumL1TableSize = 32 << 20
    /// Greatest size of the refcount table in bytes: 8 MiB.
    public static let maximumRefcountTableSize = 8 << 20
    /// Greatest number of internal snapshots.
    public static let maximumSnapshots = 65536
    /// Greatest size of extra data in one snapshot table entry in bytes.
    public static let maximumSnapshotExtraData = 1024
    /// Greatest size of the snapshot table in bytes: 64 MiB.
    public static let maximumSnapshotTableSize = 1024 * maximumSnapshots
    /// Greatest length of a backing file name in bytes.
    public static let maximumBackingFileNameLength = 1023
    /// Greatest length of a backing file format name in bytes.
    public static let maximumBackingFormatLength = 15
    /// Greatest number of persistent bitmaps.
    public static let maximumBitmaps = 65535
    /// Greatest size of the bitmap directory in bytes.
    public static let maximumBitmapDirectorySize = 1024 * maximumBitmaps
    /// Greatest number of entries of a bitmap table.
    public static let maximumBitmapTableSize = 0x800_0000
    /// Exponents of a bitmap's granularity that QEMU accepts.
    public static let bitmapGranularityBits = 9...31
    /// Greatest length of a bitmap's name in bytes.
    public static let maximumBitmapNameLength = 1023

    /// Bits 9 to 55: where an L1 or L2 entry keeps its offset.
    @inlinable public static var offsetMask: UInt64 { 0x00ff_ffff_ffff_fe00 }
    /// Bits 9 to 63: where a refcount table entry keeps its offset.
    @inlinable public static var refcountTableOffsetMask: UInt64 { 0xffff_ffff_ffff_fe00 }
    /// Bit 63 of L1 and L2 entries: the refcount of what it points to is exactly one.
    @inlinable public static var copiedFlag: UInt64 { 1 << 63 }
    /// Bit 62 of L2 entries: a compressed cluster.
    @inlinable public static var compressedFlag: UInt64 { 1 << 62 }
    /// Bit 0 of standard L2 entries: the cluster reads as zeroes.
    @inlinable public static var zeroFlag: UInt64 { 1 }
    /// Bytes of a sector, the unit in which compressed clusters are measured.
    @inlinable public static var sectorSize: Int64 { 512 }
}
