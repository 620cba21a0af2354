import Compression
import Qcow2Format

extension Qcow2Header {
    /// The header of a new image. The options have been checked.
    init(_ options: Qcow2CreationOptions, _ layout: Qcow2CreationLayout, hasDataFile: Bool) {
        self.init(version: options.version, clusterBits: layout.clusterBits, virtualSize: layout.size)
        l1Size = Int(layout.l1EntryCount)
        l1TableOffset = layout.l1Offset
        refcountTableOffset = layout.refcountTableOffset
        refcountTableClusters = Int(layout.refcountTableClusterCount)
        refcountOrder = layout.refcountBits.trailingZeroBitCount
        if let name = options.effectiveBackingFile {
            backingFileName = name
            self[.backingFormat] = options.backingFormat.map { Array($0.utf8.prefix(Qcow2.maximumBackingFormatLength)) }
        }
        guard version >= 3 else { return }
        if hasDataFile {
            incompatibleFeatures.insert(.dataFile)
            dataFileName = options.dataFileName
        }
        if options.compressionType == .zstd {
            incompatibleFeatures.insert(.compression)
            compressionType = .zstd
        }
        if options.extendedL2 { incompatibleFeatures.insert(.extendedL2) }
        if options.lazyRefcounts { compatibleFeatures.insert(.lazyRefcounts) }
        if options.dataFileRaw { autoclearFeatures.insert(.rawDataFile) }
        // In small clusters there would be no room left for names.
        if clusterSize > 4096 { featureNames = Qcow2FeatureName.known }
    }
}
