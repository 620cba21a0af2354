import BlockGraph
import IOLoop
import Qcow2Format

/// Makes qcow2 images.
@GraphActor
public enum Qcow2Creator {
    /// The most bytes that are written at a time.
    private static let bufferSize: Int64 = 1 << 20

    /// Makes a new image in a node, whose contents are lost, and with `dataFile` gets that ready for the image's data.
    ///
    /// The header is written last, after a flush: a file left behind by a crash is no image. The image is durable on
    /// return. The length of a node that cannot be changed must suffice.
    ///
    /// Errors: the options do not go together, in QEMU's words; the nodes are in use or read-only; the image does not fit
    /// the limits of the format; I/O.
    public static func create(
        _ options: Qcow2CreationOptions, file: BlockNode, dataFile: BlockNode? = nil
    ) async throws(BlockError) {
        try options.check(hasDataFile: dataFile != nil)
        let permissions = PermissionPair(used: [.write, .resize])
        let backend = try file.graph.attach("an unnamed block device", to: file, permissions: permissions)
        defer { file.graph.release(backend) }
        try options.checkBackingFile()
        let layout = try Qcow2CreationLayout(options, hasDataFile: dataFile != nil)
        try layout.checkRefcountTable()
        let header: [UInt8]
        do {
            header = try Qcow2Header(options, layout, hasDataFile: dataFile != nil).encoded()
        } catch {
            // Only names can be too long.
            throw options.backingFileRefusal(.ENOSPC)
        }
        if let dataFile { try await prepare(dataFile, options) }
        try await prepare(file, layout, options, hasDataFile: dataFile != nil)
        do {
            try await writeTables(layout, to: backend)
            try await backend.flush()
            try await write(header, at: 0, to: backend)
            try await backend.flush()
        } catch {
            throw BlockError("Could not write qcow2 header", causedBy: error)
        }
        try await check(header, in: file)
    }

    // MARK: Lengths

    /// Empties the file where that is possible, and gives it its length.
    private static func prepare(
        _ file: BlockNode, _ layout: Qcow2CreationLayout, _ options: Qcow2CreationOptions, hasDataFile: Bool
    ) async throws(BlockError) {
        let wanted = layout.fileLength
        // What was in the file must not show up in the new image. Where this fails, what matters is zeroed below.
        try? await resize(file, to: 0)
        let isEmpty = file.length == 0
        let preallocation = options.preallocation == .metadata || hasDataFile ? .off : options.preallocation
        if file.length < wanted {
            try await resizing { () async throws(BlockError) in
                try await resize(file, to: wanted, preallocation: isEmpty ? preallocation : .off)
            }
        }
        guard !isEmpty else { return }
        do {
            let zeroed = layout.dataClusterCount > 0 ? wanted : min(wanted, layout.clusterSize)
            try await file.writeZeroes(0..<zeroed, flags: options.preallocation == .off ? .mayUnmap : [])
            try await file.flush()
        } catch {
            throw BlockError("Could not write qcow2 header", causedBy: error)
        }
    }

    /// Gives the data file its length. With preallocation it may also be longer, and keeps its contents.
    private static func prepare(
        _ dataFile: BlockNode, _ options: Qcow2CreationOptions
    ) async throws(BlockError) {
        let permissions = PermissionPair(used: [.write, .resize])
        let backend = try dataFile.graph.attach("an unnamed block device", to: dataFile, permissions: permissions)
        defer { dataFile.graph.release(backend) }
        let length = dataFile.length
        guard length < options.size || (length > options.size && !options.preallocatesMetadata) else { return }
        try await resizing { () async throws(BlockError) in
            let preallocation = options.preallocation == .metadata ? .off : options.preallocation
            try await resize(dataFile, to: options.size, preallocation: preallocation)
        }
    }

    private static func resize(
        _ node: BlockNode, to length: Int64, preallocation: Preallocation = .off
    ) async throws(BlockError) {
        // Without other users there is nothing to wait for.
        guard node.parents.count > 1 else {
            return try await node.resize(to: length, exact: false, preallocation: preallocation)
        }
        try await node.graph.drained([node]) { () async throws(BlockError) in
            try await node.resize(to: length, exact: false, preallocation: preallocation)
        }
    }

    private static func resizing(_ body: () async throws(BlockError) -> Void) async throws(BlockError) {
        do {
            try await body()
        } catch {
            throw BlockError(
                "Could not resize image: Failed to resize underlying file: \(error.description)", errno: error.errno)
        }
    }

    // MARK: Tables

    private static func writeTables(_ layout: Qcow2CreationLayout, to backend: BlockBackend) async throws(Errno) {
        let size = max(bufferSize, layout.clusterSize)
        let buffer = BufferPool.shared.take(count: Int(size))
        defer { BufferPool.shared.give(buffer) }
        let clusterBits = Int64(layout.clusterBits)
        // The refcount table, then the blocks, and the L1 table.
        try await writeEntries(
            layout.refcountTableClusterCount << (clusterBits - 3), at: layout.refcountTableOffset, buffer, to: backend
        ) { index in
            index < layout.refcountBlockCount
                ? UInt64(layout.refcountBlocksOffset + index << clusterBits) : 0
        }
        let wordsInBlocks = layout.refcountBlockCount << (clusterBits - 3)
        try await writeEntries(wordsInBlocks, at: layout.refcountBlocksOffset, buffer, to: backend) { word in
            layout.refcountWord(word)
        }
        try await writeEntries(layout.l1EntryCount, at: layout.l1Offset, buffer, to: backend) { index in
            layout.l2TableCount == 0 ? 0 : 1 << 63 | UInt64(layout.l2TableOffset(index))
        }
        let wordsInEntry = layout.l2EntrySize / 8
        for table in 0..<layout.l2TableCount {
            let clusters = layout.mappedClusters(ofTable: table)
            try await writeEntries(
                layout.clusterSize / 8, at: layout.l2TableOffset(table), buffer, to: backend
            ) { word in
                let cluster = clusters.lowerBound + word / wordsInEntry
                guard word % wordsInEntry == 0, cluster < clusters.upperBound else { return 0 }
                return 1 << 63 | UInt64(layout.dataOffset(cluster))
            }
        }
    }

    /// Writes `count` big-endian numbers from an offset on.
    private static func writeEntries(
        _ count: Int64, at offset: Int64, _ buffer: IOBuffer, to backend: BlockBackend, _ value: (Int64) -> UInt64
    ) async throws(Errno) {
        for range in (offset..<offset + count * 8).pieces(ofAtMost: Int64(buffer.count)) {
            let first = (range.lowerBound - offset) / 8
            for index in 0..<Int(range.length) / 8 {
                buffer.base.storeBytes(
                    of: value(first + Int64(index)).bigEndian, toByteOffset: index * 8, as: UInt64.self)
            }
            try await backend.write(range, from: buffer[0..<Int(range.length)])
        }
    }

    private static func write(_ bytes: [UInt8], at offset: Int64, to backend: BlockBackend) async throws(Errno) {
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        buffer.bytes.copyBytes(from: bytes)
        try await backend.write(offset..<offset + Int64(bytes.count), from: buffer)
    }

    /// A node that forgets what is written to it holds no image.
    private static func check(_ header: [UInt8], in file: BlockNode) async throws(BlockError) {
        let buffer = BufferPool.shared.take(count: header.count)
        defer { BufferPool.shared.give(buffer) }
        do {
            try await file.read(0..<Int64(header.count), into: buffer)
        } catch {
            throw BlockError("Could not read qcow2 header", causedBy: error)
        }
        guard buffer.bytes.elementsEqual(header) else {
            throw BlockError("Image is not in qcow2 format", errno: .EINVAL)
        }
    }
}

extension Qcow2CreationLayout {
    /// Eight bytes of the refcount blocks, as a big-endian number: clusters below `clusterCount` have one reference.
    func refcountWord(_ word: Int64) -> UInt64 {
        let perWord = 64 / refcountBits
        let used = Swift.min(perWord, Swift.max(0, clusterCount - word * perWord))
        guard used > 0 else { return 0 }
        guard refcountBits < 8 else {
            // The first refcount has the highest bits.
            return (0..<used).reduce(0) { $0 | 1 << UInt64(64 - refcountBits * ($1 + 1)) }
        }
        // Within a byte the first refcount has the lowest bits.
        let perByte = 8 / refcountBits
        return (0..<used).reduce(0) { bits, index in
            bits | 1 << UInt64(56 - index / perByte * 8 + index % perByte * refcountBits)
        }
    }
}
