import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// Opens the tables of an image whose header was read with `readHeader`.
    ///
    /// - Parameter forWriting: whether to do what comes before the first write; unless the node is read-only by default.
    /// An image with the dirty bit is not repaired here. The children have their permissions.
    /// Errors, in QEMU's words: the options make no sense for the image; it is marked as corrupt and would be written; the
    /// tables cannot be read.
    public static func open(
        _ configuration: Qcow2Configuration, header: Qcow2Header, in node: BlockNode, file: BlockChild,
        dataFile: BlockChild?, forWriting: Bool? = nil
    ) async throws(BlockError) -> Qcow2Image {
        let forWriting = forWriting ?? !node.isReadOnly
        let geometry = Qcow2Geometry(header)
        try configuration.check(version: header.version)
        let sizes = try Qcow2CacheSizes(configuration, geometry: geometry, virtualSize: header.virtualSize)
        if forWriting { try checkWritable(header) }
        let layout = Qcow2Layout(geometry, l2PartSize: sizes.l2PartSize)
        let source = file.node
        let l1 = try await readTable(
            of: source, at: header.l1TableOffset, entryCount: header.l1Size, "Could not read L1 table")
        if let sink = source.driver.debugEventSink { await sink.debugEvent(.reftableLoad) }
        let refcountTable = try await readTable(
            of: source, at: header.refcountTableOffset,
            entryCount: header.refcountTableClusters * Int(geometry.clusterSize / 8),
            "Could not initialize refcount handling")
        let alignment = Int(source.driver.limits.requestAlignment)
        let tables = Qcow2Tables(
            header: header, configuration: configuration, l1Offset: header.l1TableOffset, l1: l1,
            refcountTableOffset: header.refcountTableOffset, refcountTable: refcountTable,
            l2: TableCache(partSize: sizes.l2PartSize, capacity: sizes.l2PartCount, smallestWrite: alignment),
            refcounts: TableCache(
                partSize: Int(geometry.clusterSize), capacity: sizes.refcountBlockCount, smallestWrite: alignment),
            space: FreeSpaceHints(blockCount: refcountTable.count, refcountsInBlock: layout.refcountsInBlock),
            layout: layout)
        let image = Qcow2Image(node: node, file: file, dataFile: dataFile, layout: layout, tables: tables)
        if forWriting { try await image.prepareForWriting() }
        image.startCleaning(every: configuration.cacheCleanInterval ?? Qcow2Configuration.defaultCacheCleanInterval)
        return image
    }

    /// Reads and checks the header of an image. Errors: it cannot be read; the image cannot be opened, in QEMU's words.
    ///
    /// - Parameter allowingBrokenSnapshots: whether place and size of the snapshot table are left to the caller to check.
    public static func readHeader(
        of file: BlockNode, allowingBrokenSnapshots: Bool = false
    ) async throws(BlockError) -> Qcow2Header {
        let buffer = BufferPool.shared.take(count: 1 << 21)
        defer { BufferPool.shared.give(buffer) }
        var size = 512
        do throws(Errno) {
            try await file.read(0..<512, into: buffer[0..<512])
            // The backing file's name may lie anywhere in the first cluster.
            let bits = UInt32(bigEndian: buffer.base.loadUnaligned(fromByteOffset: 20, as: UInt32.self))
            if (10...21).contains(bits) { size = 1 << Int(bits) }
            try await file.read(0..<Int64(size), into: buffer[0..<size])
        } catch {
            throw BlockError("Could not read qcow2 header", causedBy: error)
        }
        do {
            return try Qcow2Header(
                parsing: UnsafeRawBufferPointer(buffer[0..<size].bytes),
                allowingBrokenSnapshots: allowingBrokenSnapshots)
        } catch {
            throw BlockError(error)
        }
    }

    /// Errors: the image is marked as corrupt.
    static func checkWritable(_ header: Qcow2Header) throws(BlockError) {
        if header.incompatibleFeatures.contains(.corrupt) {
            throw BlockError("qcow2: Image is corrupt; cannot be opened read/write", errno: .EACCES)
        }
    }

    /// What comes before the first write: features that this program would not keep up are taken out of the header, and
    /// with late refcounts the next allocation sets the dirty bit.
    public func prepareForWriting() async throws(BlockError) {
        try Self.checkWritable(header)
        do throws(Errno) {
            try await updateHeader { $0.autoclearFeatures.formIntersection(.known) }
        } catch {
            throw BlockError("Could not update qcow2 header", causedBy: error)
        }
        mustMarkDirty.store(isLazy, ordering: .relaxed)
    }

    /// Reads a table of 8-byte entries.
    private static func readTable(
        of file: BlockNode, at offset: Int64, entryCount: Int, _ message: String
    ) async throws(BlockError) -> [UInt64] {
        guard entryCount > 0 else { return [] }
        let buffer = BufferPool.shared.take(count: 8 * entryCount)
        defer { BufferPool.shared.give(buffer) }
        do throws(Errno) {
            guard let range = ByteRange(offset: offset, count: Int64(buffer.count)) else { throw .EIO }
            try await file.read(range, into: buffer)
        } catch {
            throw BlockError(message, causedBy: error)
        }
        return (0..<entryCount).map { buffer.word(at: 8 * $0) }
    }
}

extension BlockError {
    /// The refusal of an image.
    init(_ error: Qcow2FormatError) {
        let errno: Errno =
            switch error.kind {
            case .invalid: .EINVAL
            case .unsupported: .ENOTSUP
            case .tooBig: .EFBIG
            case .noSpace: .ENOSPC
            }
        self.init(error.message, errno: errno)
    }
}
