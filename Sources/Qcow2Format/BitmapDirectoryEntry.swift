/// A persistent bitmap's entry in the bitmap directory. Spec: qcow2.txt, "Bitmap directory".
public struct BitmapDirectoryEntry: Sendable, Hashable {
    /// State of a bitmap.
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The bits, unknown ones included.
        public var rawValue: UInt32
        /// Makes a set from its bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// The bitmap was not saved and may be wrong.
        public static let inUse = Flags(rawValue: 1 << 0)
        /// The bitmap records all writes: it is enabled.
        public static let auto = Flags(rawValue: 1 << 1)
        /// The bitmap may be used although its extra data is unknown.
        public static let extraDataCompatible = Flags(rawValue: 1 << 2)
        /// All flags that the specification knows.
        public static let known: Flags = [.inUse, .auto, .extraDataCompatible]
    }

    /// Bytes of the fields before the extra data.
    public static let fixedSize = 24
    /// The type of dirty tracking bitmaps, the only one there is.
    public static let dirtyTracking: UInt8 = 1

    /// Offset of the bitmap table in the file in bytes; as stored, not checked.
    public var tableOffset: UInt64
    /// Number of entries of the bitmap table; as stored, not checked.
    public var tableSize: UInt32
    /// State.
    public var flags: Flags
    /// Type of the bitmap.
    public var type: UInt8 = dirtyTracking
    /// Exponent of the granularity in bytes; as stored, not checked.
    public var granularityBits: UInt8
    /// Extra data, kept as it was.
    public var extraData: [UInt8] = []
    /// The name as bytes.
    public var name: [UInt8]

    /// Makes an entry.
    public init(name: [UInt8], granularityBits: Int, flags: Flags, tableOffset: Int64, tableSize: Int) {
        self.name = name
        self.granularityBits = UInt8(granularityBits)
        self.flags = flags
        self.tableOffset = UInt64(tableOffset)
        self.tableSize = UInt32(tableSize)
    }

    /// The name as text.
    public var nameText: String { String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) }
    /// The granularity in bytes, or nil if it is beyond what QEMU accepts.
    public var granularity: Int64? {
        Qcow2.bitmapGranularityBits.contains(Int(granularityBits)) ? 1 << Int64(granularityBits) : nil
    }
    /// Bytes of the entry with padding.
    public var byteCount: Int { (Self.fixedSize + extraData.count + name.count + 7) / 8 * 8 }

    /// Reads a whole directory.
    ///
    /// - Throws: ``Qcow2FormatError`` if an entry is cut off, if the number of entries is not `count`, or if an entry
    ///   breaks ``isValid(_:virtualSize:)``.
    public static func directory(
        _ bytes: UnsafeRawBufferPointer, count: Int, geometry: Qcow2Geometry, virtualSize: Int64
    ) throws(Qcow2FormatError) -> [BitmapDirectoryEntry] {
        if bytes.isEmpty { throw Qcow2FormatError("Requested bitmap directory size is zero") }
        var result: [BitmapDirectoryEntry] = []
        var offset = 0
        while offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            if result.count == count {
                throw Qcow2FormatError("More bitmaps found than specified in header extension")
            }
            guard let entry = BitmapDirectoryEntry(parsing: rest) else {
                throw Qcow2FormatError("Broken bitmap directory")
            }
            if !entry.extraData.isEmpty { throw Qcow2FormatError("Bitmap extra data is not supported") }
            if !entry.isValid(geometry, virtualSize: virtualSize) {
                throw Qcow2FormatError("Bitmap '\(entry.nameText)' doesn't satisfy the constraints")
            }
            offset += entry.byteCount
            result.append(entry)
        }
        if result.count < count {
            throw Qcow2FormatError("Less bitmaps found than specified in header extension")
        }
        return result
    }

    /// Reads the entry at the start of `bytes`; nil if it is not wholly there. Its size is ``byteCount``.
    public init?(parsing bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.fixedSize else { return nil }
        let nameSize = Int(bytes.zeroExtended(at: 18, as: UInt16.self))
        let extraSize = Int(bytes.zeroExtended(at: 20, as: UInt32.self))
        let nameStart = Self.fixedSize + extraSize
        guard bytes.count >= (nameStart + nameSize + 7) / 8 * 8 else { return nil }
        tableOffset = bytes.zeroExtended(at: 0)
        tableSize = bytes.zeroExtended(at: 8)
        flags = Flags(rawValue: bytes.zeroExtended(at: 12))
        type = bytes[16]
        granularityBits = bytes[17]
        extraData = [UInt8](bytes[Self.fixedSize..<nameStart])
        name = [UInt8](bytes[nameStart..<nameStart + nameSize])
    }

    /// Whether QEMU accepts this entry.
    public func isValid(_ geometry: Qcow2Geometry, virtualSize: Int64) -> Bool {
        guard !name.isEmpty, name.count <= Qcow2.maximumBitmapNameLength, extraData.isEmpty, type == Self.dirtyTracking,
            flags.subtracting(.known).isEmpty, let granularity,
            tableOffset != 0, tableOffset <= UInt64(Int64.max), tableOffset & UInt64(geometry.clusterMask) == 0,
            tableSize > 0, Int(tableSize) <= Qcow2.maximumBitmapTableSize
        else { return false }
        if flags.contains(.inUse) { return true }
        return Int64(tableSize) == Self.tableSize(virtualSize: virtualSize, granularity: granularity, geometry)
    }

    /// Entries of the table of a bitmap of a disk: one for each cluster of bitmap data.
    public static func tableSize(virtualSize: Int64, granularity: Int64, _ geometry: Qcow2Geometry) -> Int64 {
        func divide(_ value: Int64, _ divisor: Int64) -> Int64 { value / divisor + (value % divisor == 0 ? 0 : 1) }
        return divide(divide(divide(virtualSize, granularity), 8), geometry.clusterSize)
    }

    /// The bytes of the entry with padding.
    ///
    /// - Throws: ``Qcow2FormatError`` if name or extra data are longer than the entry can tell.
    public func encoded() throws(Qcow2FormatError) -> [UInt8] {
        guard name.count <= Qcow2.maximumBitmapNameLength, let extraSize = UInt32(exactly: extraData.count) else {
            throw Qcow2FormatError("Bitmap directory entry too large")
        }
        var bytes: [UInt8] = []
        bytes.append(bigEndian: tableOffset)
        bytes.append(bigEndian: tableSize)
        bytes.append(bigEndian: flags.rawValue)
        bytes.append(type)
        bytes.append(granularityBits)
        bytes.append(bigEndian: UInt16(name.count))
        bytes.append(bigEndian: extraSize)
        bytes.append(contentsOf: extraData)
        bytes.append(contentsOf: name)
        bytes.pad(to: 8)
        return bytes
    }
}

/// An entry of a bitmap table: where one cluster of bitmap data is. Spec: qcow2.txt, "Bitmap table".
public struct BitmapTableEntry: Sendable, Hashable {
    /// The entry as a number.
    public var rawValue: UInt64

    /// Makes an entry from its number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Makes an entry that points to the cluster at `offset`, a multiple of the cluster size below 2^56.
    public init(offset: Int64) { rawValue = UInt64(bitPattern: offset) & Qcow2.offsetMask }

    /// No data: all bits of the cluster are 0.
    public static let allZeroes = BitmapTableEntry(rawValue: 0)
    /// No data: all bits of the cluster are 1.
    public static let allOnes = BitmapTableEntry(rawValue: 1)

    /// Offset of the bitmap data in the file in bytes; 0 if there is none.
    public var offset: Int64 { Int64(rawValue & Qcow2.offsetMask) }
    /// Whether all bits are 1, given that there is no data.
    public var isAllOnes: Bool { offset == 0 && rawValue & 1 != 0 }
    /// Whether reserved bits are clear and the offset is a multiple of the cluster size.
    public func isValid(_ geometry: Qcow2Geometry) -> Bool {
        let flagMask: UInt64 = offset == 0 ? 1 : 0
        return rawValue & ~(Qcow2.offsetMask | flagMask) == 0 && offset & geometry.clusterMask == 0
    }
}
