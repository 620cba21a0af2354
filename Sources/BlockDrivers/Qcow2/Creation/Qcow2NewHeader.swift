import Compression
import IOLoop

/// The first cluster of a new image. Spec: qcow2.txt, "Header" and "Header extensions".
struct Qcow2NewHeader {
    private var bytes: [UInt8] = []

    /// The features that programs may want to name, by mask and bit, as in QEMU's images.
    private static let featureNames: [(mask: UInt8, bit: UInt8, name: String)] = [
        (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"), (0, 3, "compression type"),
        (0, 4, "extended L2 entries"), (1, 0, "lazy refcounts"), (2, 0, "bitmaps"), (2, 1, "raw external data"),
    ]

    /// The bytes up to the end of the backing file's name. ENOSPC: they do not fit into a cluster.
    static func encoded(
        _ options: Qcow2CreationOptions, _ layout: Qcow2CreationLayout, hasDataFile: Bool
    ) throws(Errno) -> [UInt8] {
        var extensions = Qcow2NewHeader()
        if options.effectiveBackingFile != nil, let format = options.backingFormat {
            extensions.appendExtension(0xE279_2ACA, Array(format.utf8.prefix(15)))
        }
        if hasDataFile, let name = options.dataFileName {
            extensions.appendExtension(0x4441_5441, Array(name.utf8))
        }
        // With small clusters there would be no room left for a name.
        if options.version >= 3, layout.clusterSize > 4096 { extensions.appendExtension(0x6803_F857, featureTable()) }
        if !extensions.bytes.isEmpty || options.effectiveBackingFile != nil { extensions.append(UInt64(0)) }

        let backingFile = Array((options.effectiveBackingFile ?? "").utf8)
        let headerLength = options.version >= 3 ? 112 : 72
        var header = Qcow2NewHeader()
        header.appendFields(
            options, layout, hasDataFile: hasDataFile,
            backingFile: backingFile.isEmpty ? 0..<0 : 0..<backingFile.count,
            backingOffset: backingFile.isEmpty ? 0 : headerLength + extensions.bytes.count)
        header.bytes += extensions.bytes + backingFile
        guard header.bytes.count <= layout.clusterSize else { throw .ENOSPC }
        return header.bytes
    }

    private mutating func appendFields(
        _ options: Qcow2CreationOptions, _ layout: Qcow2CreationLayout, hasDataFile: Bool, backingFile: Range<Int>,
        backingOffset: Int
    ) {
        append(UInt32(0x5146_49FB))
        append(UInt32(options.version))
        append(UInt64(backingOffset))
        append(UInt32(backingFile.count))
        append(UInt32(layout.clusterBits))
        append(UInt64(layout.size))
        append(UInt32(0))
        append(UInt32(layout.l1EntryCount))
        append(UInt64(layout.l1Offset))
        append(UInt64(layout.refcountTableOffset))
        append(UInt32(layout.refcountTableClusterCount))
        append(UInt32(0))
        append(UInt64(0))
        guard options.version >= 3 else { return }
        let hasCompressionType = options.compressionType != .zlib
        append(UInt64((hasDataFile ? 4 : 0) | (hasCompressionType ? 8 : 0) | (options.extendedL2 ? 16 : 0)))
        append(UInt64(options.lazyRefcounts ? 1 : 0))
        append(UInt64(options.dataFileRaw ? 2 : 0))
        append(UInt32(layout.refcountBits.trailingZeroBitCount))
        append(UInt32(112))
        append(UInt64(hasCompressionType ? 1 << 56 : 0))
    }

    private static func featureTable() -> [UInt8] {
        featureNames.flatMap { entry -> [UInt8] in
            let name = Array(entry.name.utf8)
            return [entry.mask, entry.bit] + name + [UInt8](repeating: 0, count: 46 - name.count)
        }
    }

    private mutating func appendExtension(_ kind: UInt32, _ data: [UInt8]) {
        append(kind)
        append(UInt32(data.count))
        bytes += data
        bytes += [UInt8](repeating: 0, count: (8 - data.count % 8) % 8)
    }

    private mutating func append(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.bigEndian) { bytes += $0 }
    }
}
