/// Features that a program must know to open an image. Spec: qcow2.txt, bytes 72-79.
public struct Qcow2IncompatibleFeatures: OptionSet, Sendable, Hashable {
    /// The bits, unknown ones included.
    public var rawValue: UInt64
    /// Makes a set from its bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Refcounts may be wrong and must be repaired before the image is written.
    public static let dirty = Qcow2IncompatibleFeatures(rawValue: 1 << 0)
    /// Any structure may be wrong; the image must not be written.
    public static let corrupt = Qcow2IncompatibleFeatures(rawValue: 1 << 1)
    /// Guest clusters lie in an external data file.
    public static let dataFile = Qcow2IncompatibleFeatures(rawValue: 1 << 2)
    /// The compression type is not deflate.
    public static let compression = Qcow2IncompatibleFeatures(rawValue: 1 << 3)
    /// L2 entries have 128 bits and subclusters.
    public static let extendedL2 = Qcow2IncompatibleFeatures(rawValue: 1 << 4)
    /// All features known here.
    public static let known: Qcow2IncompatibleFeatures = [.dirty, .corrupt, .dataFile, .compression, .extendedL2]
}

/// Features that a program may ignore. Spec: qcow2.txt, bytes 80-87.
public struct Qcow2CompatibleFeatures: OptionSet, Sendable, Hashable {
    /// The bits, unknown ones included.
    public var rawValue: UInt64
    /// Makes a set from its bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Refcount updates may be postponed under the dirty bit.
    public static let lazyRefcounts = Qcow2CompatibleFeatures(rawValue: 1 << 0)
    /// All features known here.
    public static let known: Qcow2CompatibleFeatures = [.lazyRefcounts]
}

/// Features that a program clears if it does not know them and writes to the image. Spec: qcow2.txt, bytes 88-95.
public struct Qcow2AutoclearFeatures: OptionSet, Sendable, Hashable {
    /// The bits, unknown ones included.
    public var rawValue: UInt64
    /// Makes a set from its bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The bitmaps extension is consistent.
    public static let bitmaps = Qcow2AutoclearFeatures(rawValue: 1 << 0)
    /// The external data file can be read as a raw image.
    public static let rawDataFile = Qcow2AutoclearFeatures(rawValue: 1 << 1)
    /// All features known here.
    public static let known: Qcow2AutoclearFeatures = [.bitmaps, .rawDataFile]
}

/// How compressed clusters are compressed. Spec: qcow2.txt, byte 104.
public enum Qcow2CompressionType: UInt8, Sendable, Hashable, CaseIterable {
    /// Raw deflate.
    case zlib = 0
    /// Zstandard.
    case zstd = 1
}

/// How guest data is encrypted. Spec: qcow2.txt, bytes 32-35.
public enum Qcow2EncryptionMethod: UInt32, Sendable, Hashable {
    /// Not at all.
    case none = 0
    /// AES-CBC, obsolete.
    case aes = 1
    /// LUKS, with the header that the full disk encryption extension points to.
    case luks = 2
}
