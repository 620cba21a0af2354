/// An internal snapshot's entry in the snapshot table. Spec: qcow2.txt, "Snapshots".
public struct SnapshotTableEntry: Sendable, Hashable {
    /// Bytes of the fields before the extra data.
    public static let fixedSize = 40
    /// Bytes of the extra data that is written: VM state size, disk size, instruction count.
    public static let writtenExtraSize = 24

    /// Offset of the snapshot's L1 table in the file in bytes; as stored, not checked.
    public var l1TableOffset: UInt64
    /// Number of entries of the snapshot's L1 table; as stored, not checked.
    public var l1Size: UInt32
    /// The unique id as bytes.
    public var id: [UInt8]
    /// The name as bytes.
    public var name: [UInt8]
    /// When it was taken, in seconds since the epoch.
    public var seconds: UInt32 = 0
    /// When it was taken, nanoseconds of the second.
    public var nanoseconds: UInt32 = 0
    /// How long the guest ran until then, in nanoseconds.
    public var vmClock: UInt64 = 0
    /// Size of the VM state in bytes; 0 if none was saved.
    public var vmStateSize: UInt64 = 0
    /// Virtual disk size of the snapshot in bytes, or nil if the entry does not tell it, as old version 2 entries.
    public var diskSize: UInt64?
    /// Instruction count, or nil if the entry does not tell it or record/replay was off.
    public var instructionCount: UInt64?
    /// Size of the extra data as read, in bytes; entries of images of version 3 must have at least 16.
    public var extraDataSize = writtenExtraSize
    /// Extra data behind the known fields, kept as it was.
    public var unknownExtraData: [UInt8] = []

    /// Makes an entry.
    public init(id: [UInt8], name: [UInt8], l1TableOffset: Int64, l1Size: Int) {
        self.id = id
        self.name = name
        self.l1TableOffset = UInt64(l1TableOffset)
        self.l1Size = UInt32(l1Size)
    }

    /// The id as text.
    public var idText: String { String(decoding: id.prefix { $0 != 0 }, as: UTF8.self) }
    /// The name as text.
    public var nameText: String { String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) }

    /// The size of an entry with padding, by its first 40 bytes; nil if there are fewer. At most 4 GiB and 128 KiB.
    public static func byteCount(ofEntryStartingWith bytes: UnsafeRawBufferPointer) -> Int? {
        guard let id = bytes.bigEndian(at: 12, as: UInt16.self), let name = bytes.bigEndian(at: 14, as: UInt16.self),
            let extra = bytes.bigEndian(at: 36, as: UInt32.self)
        else { return nil }
        return padded(fixedSize + Int(extra) + Int(id) + Int(name))
    }

    /// Reads the entry at the start of `bytes`.
    ///
    /// - Parameter bytes: may end after the name, without padding, and may go on behind the entry.
    /// - Returns: nil if bytes are missing, else the entry; its size is ``byteCount(ofEntryStartingWith:)``.
    public init?(parsing bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.fixedSize else { return nil }
        let idSize = Int(bytes.zeroExtended(at: 12, as: UInt16.self))
        let nameSize = Int(bytes.zeroExtended(at: 14, as: UInt16.self))
        let extraSize = Int(bytes.zeroExtended(at: 36, as: UInt32.self))
        let idStart = Self.fixedSize + extraSize
        guard bytes.count >= idStart + idSize + nameSize else { return nil }
        l1TableOffset = bytes.zeroExtended(at: 0)
        l1Size = bytes.zeroExtended(at: 8)
        seconds = bytes.zeroExtended(at: 16)
        nanoseconds = bytes.zeroExtended(at: 20)
        vmClock = bytes.zeroExtended(at: 24)
        extraDataSize = extraSize
        vmStateSize = extraSize >= 8 ? bytes.zeroExtended(at: 40) : UInt64(bytes.zeroExtended(at: 32, as: UInt32.self))
        diskSize = extraSize >= 16 ? bytes.zeroExtended(at: 48, as: UInt64.self) : nil
        let count = extraSize >= 24 ? bytes.zeroExtended(at: 56, as: UInt64.self) : .max
        instructionCount = count == .max ? nil : count
        if extraSize > Self.writtenExtraSize {
            let start = Self.fixedSize + Self.writtenExtraSize
            unknownExtraData = [UInt8](bytes[start..<idStart])
        }
        id = [UInt8](bytes[idStart..<idStart + idSize])
        name = [UInt8](bytes[idStart + idSize..<idStart + idSize + nameSize])
    }

    /// The bytes of the entry with padding, and with all known extra data.
    ///
    /// - Throws: ``Qcow2FormatError`` if id or name have more than 65535 bytes or the extra data more than 1024.
    /// - Parameter virtualSize: the disk size that is written if ``diskSize`` is nil.
    public func encoded(virtualSize: Int64) throws(Qcow2FormatError) -> [UInt8] {
        let extra = Self.writtenExtraSize + unknownExtraData.count
        guard id.count <= Int(UInt16.max), name.count <= Int(UInt16.max), extra <= Qcow2.maximumSnapshotExtraData else {
            throw Qcow2FormatError("Snapshot table entry too large")
        }
        var bytes: [UInt8] = []
        bytes.append(bigEndian: l1TableOffset)
        bytes.append(bigEndian: l1Size)
        bytes.append(bigEndian: UInt16(id.count))
        bytes.append(bigEndian: UInt16(name.count))
        bytes.append(bigEndian: seconds)
        bytes.append(bigEndian: nanoseconds)
        bytes.append(bigEndian: vmClock)
        bytes.append(bigEndian: UInt32(exactly: vmStateSize) ?? 0)
        bytes.append(bigEndian: UInt32(extra))
        bytes.append(bigEndian: vmStateSize)
        bytes.append(bigEndian: diskSize ?? UInt64(max(virtualSize, 0)))
        bytes.append(bigEndian: instructionCount ?? .max)
        bytes.append(contentsOf: unknownExtraData)
        bytes.append(contentsOf: id)
        bytes.append(contentsOf: name)
        bytes.pad(to: 8)
        return bytes
    }

    static func padded(_ size: Int) -> Int { (size + 7) / 8 * 8 }
}
