import BlockGraph
import Compression
import IOLoop
import Qcow2Format

/// What a new qcow2 image is to be like. The names are those of QMP's `BlockdevCreateOptionsQcow2`.
public struct Qcow2CreationOptions: Hashable, Sendable {
    /// The length of the disk in bytes, a multiple of 512.
    public var size: Int64
    /// The version of the format, 2 or 3.
    public var version = 3
    /// The name of the backing file, as it is to be found from the image; nil or empty for none.
    public var backingFile: String?
    /// The driver of the backing file.
    public var backingFormat: String?
    /// The bytes of a cluster, a power of two.
    public var clusterSize: Int64 = 65536
    /// What is allocated at once.
    public var preallocation = Preallocation.off
    /// Whether refcounts may be written late.
    public var lazyRefcounts = false
    /// The bits of a refcount, a power of two.
    public var refcountBits: Int64 = 16
    /// Whether clusters have subclusters.
    public var extendedL2 = false
    /// Whether the data file, which must be there then, is to be readable as a raw image by itself.
    public var dataFileRaw = false
    /// The name of the data file that the image gets; nil for none. The data itself goes to the node of the data file.
    public var dataFileName: String?
    /// How clusters are compressed.
    public var compressionType = CompressionKind.zlib
    /// Whether encryption is asked for, which is refused.
    public var isEncrypted = false

    /// The usual options for a disk of `size` bytes.
    public init(size: Int64) {
        self.size = size
    }

    /// The bits of an offset within a cluster. The cluster size has been checked.
    var clusterBits: Int { clusterSize.trailingZeroBitCount }

    /// The backing file, nil where the name is empty.
    var effectiveBackingFile: String? { backingFile.flatMap { $0.isEmpty ? nil : $0 } }

    /// Whether L2 tables are written that map the whole disk.
    var preallocatesMetadata: Bool { preallocation != .off || dataFileRaw }
}

extension Qcow2CreationOptions {
    /// Checks what holds for every image, in the order and the words of QEMU.
    ///
    /// - Parameter hasDataFile: whether there is a node for the data.
    public func check(hasDataFile: Bool) throws(BlockError) {
        func require(_ condition: Bool, _ text: String) throws(BlockError) {
            if !condition { throw BlockError(text, errno: .EINVAL) }
        }
        func requireVersion3(_ isUsed: Bool, _ feature: String) throws(BlockError) {
            try require(
                !isUsed || version >= 3,
                "\(feature) supported with compatibility level 1.1 and above (use version=v3 or greater)")
        }
        try require(size % 512 == 0, "Image size must be a multiple of 512 bytes")
        try requireVersion3(extendedL2, "Extended L2 entries are only")
        try checkClusterSize()
        try require(
            preallocation == .off || backingFile == nil || extendedL2,
            "Backing file and preallocation can only be used at the same time if extended_l2 is on")
        try require(backingFormat == nil || backingFile != nil, "Backing format cannot be used without backing file")
        try requireVersion3(lazyRefcounts, "Lazy refcounts only")
        try checkRefcountBits(hint: "version=v3")
        try require(
            !dataFileRaw || backingFile == nil, "Backing file and data-file-raw cannot be used at the same time")
        try requireVersion3(hasDataFile, "External data files are only")
        try require(!dataFileRaw || hasDataFile, "data-file-raw requires data-file")
        try requireVersion3(compressionType != .zlib, "Non-zlib compression type is only")
        if isEncrypted { throw BlockError("Encrypted images are not supported", errno: .ENOTSUP) }
    }

    /// Checks the size of a cluster.
    func checkClusterSize() throws(BlockError) {
        guard clusterSize >= 512, clusterSize <= 1 << 21, clusterSize.nonzeroBitCount == 1 else {
            throw BlockError("Cluster size must be a power of two between 512 and 2048k", errno: .EINVAL)
        }
        guard !extendedL2 || clusterSize >= 16384 else {
            throw BlockError(
                "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes", errno: .EINVAL)
        }
    }

    /// Checks the width of refcounts. The hint says how to get the version that has others than 16 bits.
    func checkRefcountBits(hint: String) throws(BlockError) {
        guard refcountBits > 0, refcountBits <= 64, refcountBits.nonzeroBitCount == 1 else {
            throw BlockError("Refcount width must be a power of two and may not exceed 64 bits", errno: .EINVAL)
        }
        guard refcountBits == 16 || version >= 3 else {
            throw BlockError(
                "Different refcount widths than 16 bits require compatibility level 1.1 or above "
                    + "(use \(hint) or greater)", errno: .EINVAL)
        }
    }

    /// Checks the length of the backing file's name. EINVAL: longer than any image can have it.
    func checkBackingFile() throws(BlockError) {
        guard let name = effectiveBackingFile, name.utf8.count > Qcow2.maximumBackingFileNameLength else { return }
        throw backingFileRefusal(.EINVAL)
    }

    /// The error of a backing file that cannot be written into the header.
    func backingFileRefusal(_ errno: Errno) -> BlockError {
        BlockError(
            "Could not assign backing file '\(backingFile ?? "")' with format '\(backingFormat ?? "(null)")'",
            causedBy: errno)
    }
}
