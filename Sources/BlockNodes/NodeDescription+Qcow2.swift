import BlockDrivers
import BlockGraph
import IOLoop
import QMPSchema
import Qcow2Format

extension NodeDescription {
    /// Fills in what only qcow2 images tell.
    func describe(_ driver: Qcow2Driver, in info: inout ImageInfo) {
        let header = driver.image.header
        info.dirtyFlag = header.incompatibleFeatures.contains(.dirty)
        if let name = header.backingFileName, !name.isEmpty {
            let file = driver.file.node
            info.backingFilename = name
            info.fullBackingFilename = try? ImageName.resolve(name, relativeTo: NodeDescription(file).filename)
            info.backingFilenameFormat = header.backingFormat
        }
        var specific = ImageInfoSpecificQCow2(header)
        let bitmaps = driver.bitmaps.entries
        if !bitmaps.isEmpty { specific.bitmaps = bitmaps.map(Qcow2BitmapInfo.init) }
        info.formatSpecific = ImageInfoSpecific(type: .qcow2(ImageInfoSpecificQCow2Wrapper(data: specific)))
    }
}

extension ImageInfoSpecificQCow2 {
    /// What a header tells.
    init(_ header: Qcow2Header) {
        self.init(
            compat: header.version == 2 ? "0.10" : "1.1", refcountBits: 1 << Int64(header.refcountOrder),
            compressionType: header.compressionType == .zstd ? .zstd : .zlib)
        guard header.version >= 3 else { return }
        extendedL2 = header.hasExtendedL2
        lazyRefcounts = header.compatibleFeatures.contains(.lazyRefcounts)
        corrupt = header.incompatibleFeatures.contains(.corrupt)
        guard header.hasDataFile else { return }
        dataFile = header.dataFileName
        dataFileRaw = header.autoclearFeatures.contains(.rawDataFile)
    }
}

extension Qcow2BitmapInfo {
    /// What the image says of a bitmap.
    init(_ entry: BitmapDirectoryEntry) {
        var flags: [Qcow2BitmapInfoFlags] = []
        if entry.flags.contains(.inUse) { flags.append(.inUse) }
        if entry.flags.contains(.auto) { flags.append(.auto) }
        self.init(name: entry.nameText, granularity: UInt32(clamping: entry.granularity ?? 0), flags: flags)
    }
}
