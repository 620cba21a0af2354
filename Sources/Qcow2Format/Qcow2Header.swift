/// The header of an image with its extensions and the backing file name: all that its first cluster holds.
///
/// Spec: qcow2.txt, "Header". Fields have the names of the specification.
public struct Qcow2Header: Sendable, Hashable {
    /// 2 or 3.
    public var version: Int
    /// Exponent of the cluster size, 9 to 21.
    public var clusterBits: Int
    /// Virtual disk size in bytes.
    public var virtualSize: Int64
    /// How guest data is encrypted.
    public var encryptionMethod: Qcow2EncryptionMethod = .none
    /// Number of entries of the active L1 table.
    public var l1Size = 0
    /// Offset of the active L1 table in bytes, a multiple of the cluster size.
    public var l1TableOffset: Int64 = 0
    /// Offset of the refcount table in bytes, a multiple of the cluster size.
    public var refcountTableOffset: Int64 = 0
    /// Number of clusters of the refcount table.
    public var refcountTableClusters = 0
    /// Number of internal snapshots.
    public var snapshotCount = 0
    /// Offset of the snapshot table in bytes, a multiple of the cluster size.
    public var snapshotsOffset: Int64 = 0
    /// Features that must be known; always empty in version 2.
    public var incompatibleFeatures: Qcow2IncompatibleFeatures = []
    /// Features that may be ignored; always empty in version 2.
    public var compatibleFeatures: Qcow2CompatibleFeatures = []
    /// Features that are cleared when not known; always empty in version 2.
    public var autoclearFeatures: Qcow2AutoclearFeatures = []
    /// Exponent of the width of a refcount in bits, 0 to 6; always 4 in version 2.
    public var refcountOrder = Qcow2.defaultRefcountOrder
    /// How compressed clusters are compressed.
    public var compressionType: Qcow2CompressionType = .zlib
    /// Header fields from byte 112 on, which are not known here but are kept.
    public var unknownFields: [UInt8] = []
    /// The extensions in the order in which they were found, unknown ones included, without the end mark.
    public var extensions: [Qcow2HeaderExtension] = []
    /// The backing file name as bytes, at most 1023; nil without a backing file.
    public var backingFile: [UInt8]?

    /// Makes a header without tables, extensions, features, and backing file.
    public init(version: Int = 3, clusterBits: Int = 16, virtualSize: Int64) {
        self.version = version
        self.clusterBits = clusterBits
        self.virtualSize = virtualSize
    }

    /// Bytes of the header before the extensions as it is written: 72 in version 2, at least 112 in version 3.
    public var headerLength: Int {
        version == 2 ? Qcow2.version2HeaderLength : Qcow2.version3HeaderLength + (unknownFields.count + 7) / 8 * 8
    }

    /// The cluster size in bytes.
    public var clusterSize: Int64 { 1 << Int64(clusterBits) }
    /// Whether L2 entries are extended.
    public var hasExtendedL2: Bool { incompatibleFeatures.contains(.extendedL2) }
    /// Whether guest clusters lie in an external data file.
    public var hasDataFile: Bool { incompatibleFeatures.contains(.dataFile) }
    /// Sizes and conversions that follow from this header.
    public var geometry: Qcow2Geometry { Qcow2Geometry(self) }
}

extension Qcow2Header {
    /// The backing file name as text; bytes that are no UTF-8 become replacement characters.
    public var backingFileName: String? {
        get { backingFile.map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }
        set { backingFile = newValue.map { Array($0.utf8) } }
    }

    /// The data of the last extension of a kind. Setting replaces all of that kind; nil removes them.
    public subscript(kind: Qcow2HeaderExtension.Kind) -> [UInt8]? {
        get { extensions.last { $0.kind == kind }?.data }
        set {
            let place = extensions.firstIndex { $0.kind == kind } ?? extensions.count
            extensions.removeAll { $0.kind == kind }
            if let newValue {
                extensions.insert(Qcow2HeaderExtension(kind, newValue), at: min(place, extensions.count))
            }
        }
    }

    /// The name of the backing file's format, or nil if the image does not tell it.
    public var backingFormat: String? {
        get { self[.backingFormat].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }
        set { self[.backingFormat] = newValue.map { Array($0.utf8) } }
    }

    /// The name of the external data file, or nil if the image does not tell it.
    public var dataFileName: String? {
        get { self[.dataFile].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }
        set { self[.dataFile] = newValue.map { Array($0.utf8) } }
    }

    /// The names of features, empty without a table.
    public var featureNames: [Qcow2FeatureName] {
        get { self[.featureNames].map(Qcow2FeatureName.table) ?? [] }
        set { self[.featureNames] = newValue.isEmpty ? nil : Qcow2FeatureName.encoded(newValue) }
    }

    /// Where the persistent bitmaps are, or nil if there are none.
    public var bitmaps: Qcow2BitmapsExtension? {
        get { self[.bitmaps].flatMap { try? Qcow2BitmapsExtension(parsing: $0, clusterSize: clusterSize) } }
        set { self[.bitmaps] = newValue?.encoded() }
    }

    /// Where the encryption header is, or nil if there is none.
    public var encryptionHeader: Qcow2EncryptionHeaderPointer? {
        get {
            self[.encryptionHeader].flatMap { try? Qcow2EncryptionHeaderPointer(parsing: $0, clusterSize: clusterSize) }
        }
        set { self[.encryptionHeader] = newValue?.encoded() }
    }
}
