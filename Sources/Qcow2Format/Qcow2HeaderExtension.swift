/// One header extension, known or not. Spec: qcow2.txt, "Header extensions".
public struct Qcow2HeaderExtension: Sendable, Hashable {
    /// What an extension holds.
    public struct Kind: RawRepresentable, Sendable, Hashable {
        /// The number on disk.
        public var rawValue: UInt32
        /// Makes a kind from its number.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// The end of the extension area.
        public static let end = Kind(rawValue: 0)
        /// The name of the backing file's format.
        public static let backingFormat = Kind(rawValue: 0xe279_2aca)
        /// The names of features.
        public static let featureNames = Kind(rawValue: 0x6803_f857)
        /// Where the persistent bitmaps are.
        public static let bitmaps = Kind(rawValue: 0x2385_2875)
        /// Where the encryption header is.
        public static let encryptionHeader = Kind(rawValue: 0x0537_be77)
        /// The name of the external data file.
        public static let dataFile = Kind(rawValue: 0x4441_5441)

        /// The place among the extensions that QEMU writes; unknown ones come last in their own order.
        var rank: Int {
            switch self {
            case .backingFormat: 0
            case .dataFile: 1
            case .encryptionHeader: 2
            case .featureNames: 3
            case .bitmaps: 4
            default: 5
            }
        }
    }

    /// What it holds.
    public var kind: Kind
    /// The data without padding.
    public var data: [UInt8]

    /// Makes an extension.
    public init(_ kind: Kind, _ data: [UInt8]) {
        self.kind = kind
        self.data = data
    }

    /// Bytes that this extension takes in the header: eight, and the data rounded up to eight.
    public var encodedSize: Int { 8 + (data.count + 7) / 8 * 8 }
}

/// The bitmaps extension. Spec: qcow2.txt, "Bitmaps extension".
public struct Qcow2BitmapsExtension: Sendable, Hashable {
    /// Bytes of the extension's data.
    public static let size = 24

    /// Number of bitmaps.
    public var bitmapCount: UInt32
    /// Size of the bitmap directory in bytes.
    public var directorySize: UInt64
    /// Offset of the bitmap directory in the file in bytes, a multiple of the cluster size.
    public var directoryOffset: UInt64

    /// Makes the data of an extension.
    public init(bitmapCount: UInt32, directorySize: UInt64, directoryOffset: UInt64) {
        self.bitmapCount = bitmapCount
        self.directorySize = directorySize
        self.directoryOffset = directoryOffset
    }

    /// Reads the data of an extension.
    ///
    /// - Throws: ``Qcow2FormatError`` if the length is not 24, or a field is beyond QEMU's limits.
    public init(parsing data: [UInt8], clusterSize: Int64) throws(Qcow2FormatError) {
        guard data.count == Self.size else { throw Qcow2FormatError("bitmaps_ext: Invalid extension length") }
        let fields = data.withUnsafeBytes { bytes in
            (
                bytes.zeroExtended(at: 0, as: UInt32.self), bytes.zeroExtended(at: 4, as: UInt32.self),
                bytes.zeroExtended(at: 8, as: UInt64.self), bytes.zeroExtended(at: 16, as: UInt64.self)
            )
        }
        self.init(bitmapCount: fields.0, directorySize: fields.2, directoryOffset: fields.3)
        if fields.1 != 0 { throw Qcow2FormatError("bitmaps_ext: Reserved field is not zero") }
        if bitmapCount > Qcow2.maximumBitmaps {
            throw Qcow2FormatError(
                "bitmaps_ext: Image has \(bitmapCount) bitmaps, exceeding the QEMU supported maximum of "
                    + "\(Qcow2.maximumBitmaps)")
        }
        if bitmapCount == 0 { throw Qcow2FormatError("found bitmaps extension with zero bitmaps") }
        if directoryOffset % UInt64(clusterSize) != 0 {
            throw Qcow2FormatError("bitmaps_ext: invalid bitmap directory offset")
        }
        if directorySize > Qcow2.maximumBitmapDirectorySize {
            throw Qcow2FormatError(
                "bitmaps_ext: bitmap directory size (\(directorySize)) exceeds the maximum supported size "
                    + "(\(Qcow2.maximumBitmapDirectorySize))")
        }
    }

    /// The data of the extension.
    public func encoded() -> [UInt8] {
        var data: [UInt8] = []
        data.append(bigEndian: bitmapCount)
        data.append(bigEndian: UInt32(0))
        data.append(bigEndian: directorySize)
        data.append(bigEndian: directoryOffset)
        return data
    }
}

/// The full disk encryption header pointer. Spec: qcow2.txt, "Full disk encryption header pointer".
public struct Qcow2EncryptionHeaderPointer: Sendable, Hashable {
    /// Offset of the encryption header in the file in bytes, a multiple of the cluster size.
    public var offset: UInt64
    /// Length of the encryption header in bytes.
    public var length: UInt64

    /// Makes a pointer.
    public init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }

    /// The data of the extension.
    public func encoded() -> [UInt8] {
        var data: [UInt8] = []
        data.append(bigEndian: offset)
        data.append(bigEndian: length)
        return data
    }
}
