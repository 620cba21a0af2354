extension Qcow2Header {
    /// Bytes that must be read before ``byteCount(ofHeaderStartingWith:)`` can be asked.
    public static let prefixLength = Qcow2.version3HeaderLength

    /// The number of bytes from the start of the file that ``init(parsing:)`` wants: the first cluster.
    ///
    /// - Parameter prefix: the first ``prefixLength`` bytes of the file, or all if it is shorter.
    /// - Throws: ``Qcow2FormatError`` if these bytes already tell that the image cannot be opened.
    public static func byteCount(
        ofHeaderStartingWith prefix: UnsafeRawBufferPointer
    ) throws(Qcow2FormatError) -> Int {
        1 << (try checkedClusterBits(prefix))
    }

    /// Reads the header, its extensions, and the backing file name.
    ///
    /// - Parameter bytes: the first cluster of the file. What is missing at its end counts as zeroes, as in QEMU.
    /// - Parameter allowingBrokenSnapshots: whether place and size of the snapshot table are taken as they are, for a
    ///   repair of the image. The offset may then be anything, even negative.
    /// - Throws: ``Qcow2FormatError`` if the image cannot be opened, in QEMU's words and order of checks.
    public init(
        parsing bytes: UnsafeRawBufferPointer, allowingBrokenSnapshots: Bool = false
    ) throws(Qcow2FormatError) {
        let clusterBits = try Self.checkedClusterBits(bytes)
        self.init(version: Int(bytes.zeroExtended(at: 4, as: UInt32.self)), clusterBits: clusterBits, virtualSize: 0)
        let length = try Self.headerLength(bytes, version: version, clusterSize: clusterSize)
        let backingOffset = bytes.zeroExtended(at: 8, as: UInt64.self)
        if backingOffset > UInt64(clusterSize) { throw Qcow2FormatError("Invalid backing file offset") }
        let extensionsEnd = backingOffset == 0 ? Int(clusterSize) : Int(backingOffset)
        if version >= 3 {
            incompatibleFeatures = .init(rawValue: bytes.zeroExtended(at: 72))
            compatibleFeatures = .init(rawValue: bytes.zeroExtended(at: 80))
            autoclearFeatures = .init(rawValue: bytes.zeroExtended(at: 88))
            if length > Qcow2.version3HeaderLength {
                unknownFields = bytes.zeroExtendedBytes(
                    at: Qcow2.version3HeaderLength, length: length - Qcow2.version3HeaderLength)
                unknownFields.pad(to: 8)
            }
        }
        try parseCompressionType(length > 104 ? bytes.zeroExtended(at: 104, as: UInt8.self) : 0)
        try checkFeatures(bytes, extensionsAt: length, end: extensionsEnd)
        try parseWidths(bytes)
        try parseTables(bytes, allowingBrokenSnapshots: allowingBrokenSnapshots)
        extensions = try Self.extensions(bytes, at: length, end: extensionsEnd)
        try checkExtensions()
        if backingOffset != 0 {
            let size = bytes.zeroExtended(at: 16, as: UInt32.self)
            let room = min(Int(clusterSize) - extensionsEnd, Qcow2.maximumBackingFileNameLength)
            if Int(size) > room { throw Qcow2FormatError("Backing file name too long") }
            backingFile = bytes.zeroExtendedBytes(at: extensionsEnd, length: Int(size))
        }
    }

    /// Reads the header from an array.
    public init(parsing bytes: [UInt8]) throws(Qcow2FormatError) {
        let result = bytes.withUnsafeBytes { bytes -> Result<Qcow2Header, Qcow2FormatError> in
            Result { () throws(Qcow2FormatError) in try Qcow2Header(parsing: bytes) }
        }
        self = try result.get()
    }

    /// Checks magic number and version, and returns the exponent of the cluster size.
    private static func checkedClusterBits(_ bytes: UnsafeRawBufferPointer) throws(Qcow2FormatError) -> Int {
        guard bytes.zeroExtended(at: 0, as: UInt32.self) == Qcow2.magic else {
            throw Qcow2FormatError("Image is not in qcow2 format")
        }
        let version = bytes.zeroExtended(at: 4, as: UInt32.self)
        guard version == 2 || version == 3 else {
            throw Qcow2FormatError("Unsupported qcow2 version \(version)", kind: .unsupported)
        }
        let bits = bytes.zeroExtended(at: 20, as: UInt32.self)
        guard Int(bits) >= Qcow2.minimumClusterBits, Int(bits) <= Qcow2.maximumClusterBits else {
            throw Qcow2FormatError("Unsupported cluster size: 2^\(bits)")
        }
        return Int(bits)
    }

    private static func headerLength(
        _ bytes: UnsafeRawBufferPointer, version: Int, clusterSize: Int64
    ) throws(Qcow2FormatError) -> Int {
        if version == 2 { return Qcow2.version2HeaderLength }
        let length = Int(bytes.zeroExtended(at: 100, as: UInt32.self))
        if length < Qcow2.minimumVersion3HeaderLength { throw Qcow2FormatError("qcow2 header too short") }
        if length > clusterSize { throw Qcow2FormatError("qcow2 header exceeds cluster size") }
        return length
    }

    private mutating func parseCompressionType(_ value: UInt8) throws(Qcow2FormatError) {
        guard let type = Qcow2CompressionType(rawValue: value) else {
            throw Qcow2FormatError("qcow2: unknown compression type: \(value)", kind: .unsupported)
        }
        if type != .zlib, !incompatibleFeatures.contains(.compression) {
            throw Qcow2FormatError("qcow2: Compression type incompatible feature bit must be set")
        }
        if type == .zlib, incompatibleFeatures.contains(.compression) {
            throw Qcow2FormatError("qcow2: Compression type incompatible feature bit must not be set")
        }
        compressionType = type
    }

    private func checkFeatures(
        _ bytes: UnsafeRawBufferPointer, extensionsAt offset: Int, end: Int
    ) throws(Qcow2FormatError) {
        var unknown = incompatibleFeatures.subtracting(.known).rawValue
        if unknown == 0 { return }
        let extensions = (try? Self.extensions(bytes, at: offset, end: end)) ?? []
        let table = extensions.last { $0.kind == .featureNames }?.data ?? []
        var names: [String] = []
        for entry in Qcow2FeatureName.table(table) where entry.kind == .incompatible && entry.bit < 64 {
            let mask = UInt64(1) << UInt64(entry.bit)
            if unknown & mask == 0 { continue }
            unknown &= ~mask
            names.append(entry.name)
        }
        if unknown != 0 { names.append("Unknown incompatible feature: \(String(unknown, radix: 16))") }
        throw Qcow2FormatError(
            "Unsupported qcow2 feature(s): \(names.joined(separator: ", "))", kind: .unsupported)
    }

    /// Subclusters, refcount width, encryption method.
    private mutating func parseWidths(_ bytes: UnsafeRawBufferPointer) throws(Qcow2FormatError) {
        if hasExtendedL2, clusterBits < Qcow2.minimumExtendedClusterBits {
            throw Qcow2FormatError("Unsupported subcluster size: \(clusterSize / Int64(Qcow2.subclustersPerCluster))")
        }
        if version >= 3 {
            let order = bytes.zeroExtended(at: 96, as: UInt32.self)
            if order > Qcow2.maximumRefcountOrder {
                throw Qcow2FormatError("Reference count entry width too large; may not exceed 64 bits")
            }
            refcountOrder = Int(order)
        }
        let method = bytes.zeroExtended(at: 32, as: UInt32.self)
        guard let known = Qcow2EncryptionMethod(rawValue: method) else {
            throw Qcow2FormatError("Unsupported encryption method \(method)")
        }
        encryptionMethod = known
    }
}
