import BlockGraph
import IOLoop
import Qcow2Format

/// How large the file of a new qcow2 image becomes, in bytes.
public struct Qcow2Measure: Hashable, Sendable {
    /// With what the source has allocated now, or empty.
    public var required: Int64
    /// When everything has been written.
    public var fullyAllocated: Int64
    /// What copies of the source's persistent bitmaps add; nil where source or image cannot have any.
    public var bitmaps: Int64?

    /// The sizes of an empty image with the options. A data file is not taken into account, as in QEMU.
    ///
    /// Errors: cluster size or refcount width will not do; the disk is too large for the clusters.
    public init(_ options: Qcow2CreationOptions) throws(BlockError) {
        let layout = try Self.fullLayout(options)
        fullyAllocated = layout.clusterCount << Int64(layout.clusterBits)
        required = fullyAllocated
        if !Self.allocatesAll(options) { required -= layout.dataClusterCount << Int64(layout.clusterBits) }
    }

    /// The sizes of an image that a node is converted to: `options.size` is taken from the node.
    ///
    /// Errors: as above; the status of the node cannot be had.
    @GraphActor
    public static func measure(
        _ options: Qcow2CreationOptions, convertingFrom source: BlockNode
    ) async throws(BlockError) -> Qcow2Measure {
        var options = options
        options.size = source.length
        var measure = try Qcow2Measure(options)
        if source.driver.bitmapStore != nil, options.version >= 3 {
            measure.bitmaps = bitmapSize(source, clusterSize: options.clusterSize)
        }
        if options.backingFile != nil {
            // Zeroes must be written then, as the backing file might shine through.
            measure.required = measure.fullyAllocated
        } else if !allocatesAll(options) {
            do {
                measure.required += try await dataSize(source, clusterSize: options.clusterSize)
            } catch {
                throw BlockError("Unable to get block status", causedBy: error)
            }
        }
        return measure
    }

    private static func allocatesAll(_ options: Qcow2CreationOptions) -> Bool {
        options.preallocation == .falloc || options.preallocation == .full
    }

    /// The layout of the image with everything in it.
    private static func fullLayout(_ options: Qcow2CreationOptions) throws(BlockError) -> Qcow2CreationLayout {
        try options.checkClusterSize()
        try options.checkRefcountBits(hint: "compat=1.1")
        var full = options
        full.preallocation = .metadata
        do {
            return try Qcow2CreationLayout(full, hasDataFile: false)
        } catch {
            throw BlockError("The image size is too large (try using a larger cluster size)", errno: .EFBIG)
        }
    }

    /// The bytes of the clusters that hold data.
    private static func dataSize(_ source: BlockNode, clusterSize: Int64) async throws(Errno) -> Int64 {
        var total: Int64 = 0
        var counted: Int64 = 0
        var offset: Int64 = 0
        let length = source.length
        while offset < length {
            let (status, _) = try await source.blockStatusAbove(base: nil, offset..<length)
            guard status.length > 0 else { break }
            let end = offset + status.length
            if status.isData, !status.isZero {
                let start = max(counted, offset.alignedDown(to: clusterSize))
                counted = max(counted, end.alignedUp(to: clusterSize))
                total += counted - start
            }
            offset = end
        }
        return total
    }

    /// The bytes of the bitmaps' directory, tables and data. Spec: qcow2.txt, "Bitmaps"
    @GraphActor
    private static func bitmapSize(_ source: BlockNode, clusterSize: Int64) -> Int64 {
        var directory: Int64 = 0
        var clusters: Int64 = 0
        for bitmap in source.bitmaps.all where bitmap.isPersistent {
            let bits = source.length.quotientRoundedUp(by: bitmap.granularity)
            let data = bits.quotientRoundedUp(by: 8).quotientRoundedUp(by: clusterSize)
            clusters += data + (data * 8).quotientRoundedUp(by: clusterSize)
            directory += (24 + Int64(bitmap.name?.utf8.count ?? 0)).alignedUp(to: 8)
        }
        return (clusters + directory.quotientRoundedUp(by: clusterSize)) * clusterSize
    }
}
