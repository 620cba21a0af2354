import BlockGraph
import IOLoop
import Qcow2Format

/// Checks the metadata of an image, and repairs it. Nothing else may use the image meanwhile.
///
/// Each host cluster's references are counted from the header, the L1 and L2 tables of the disk and of the snapshots, and
/// all other structures, and compared with the refcounts of the image. Memory follows the file's length.
public final class Qcow2Checker {
    let file: BlockNode
    let repair: Qcow2Repair
    let report: (Qcow2CheckMessage) -> Void
    let geometry: Qcow2Geometry

    var header: Qcow2Header
    var result = Qcow2CheckResult()
    var counts: ReferenceCounts
    var fileLength: Int64 = 0
    /// Whether the refcount structures are so broken that only new ones help.
    var needsRebuild = false
    /// Whether a misplaced refcount block was told.
    var toldUnaligned = false
    /// Refcounts that the last comparison found too low and left so.
    var refcountCorruptions = 0
    var l1Table: [UInt64] = []
    var refcountTable: [UInt64] = []
    var snapshots: [SnapshotTableEntry] = []
    /// Bytes of the snapshot table as it is on disk.
    var snapshotTableSize: Int64 = 0
    /// Whether the snapshot table must be written anew; errors in it that were found are counted here until then.
    var snapshotErrors = 0
    var bitmaps: [BitmapDirectoryEntry] = []
    /// The refcount block that was read last.
    var cachedBlock: (index: Int, bytes: [UInt8])?
    /// The offset behind the last data cluster of the L2 table in hand, for the figures of fragmentation.
    var nextContiguous: Int64 = 0

    private init(
        _ file: BlockNode, header: Qcow2Header, repair: Qcow2Repair, report: @escaping (Qcow2CheckMessage) -> Void
    ) {
        self.file = file
        self.header = header
        self.repair = repair
        self.report = report
        geometry = header.geometry
        counts = ReferenceCounts(geometry)
    }

    /// A checker that counts the same image's references without its refcount structures, and says nothing.
    init(copyingForCount other: Qcow2Checker) {
        file = other.file
        repair = .none
        report = { _ in }
        geometry = other.geometry
        header = other.header
        header.refcountTableClusters = 0
        counts = ReferenceCounts(geometry)
        fileLength = other.fileLength
        snapshots = other.snapshots
        snapshotTableSize = other.snapshotTableSize
        bitmaps = other.bitmaps
    }

    /// Checks the image in `file`, and repairs what `repair` tells; for that, the node must be writable.
    ///
    /// After a repair that leaves no error, the dirty and the corrupt bit are cleared. On return all changes are durable.
    /// - Parameter report: gets each finding and each repair in the words of `qemu-img check`, as it happens.
    /// Errors: the header is refused, in QEMU's words; `Check failed`: the tables cannot be read or written, or are so
    /// broken that the check cannot go on.
    public static func check(
        _ file: BlockNode, repair: Qcow2Repair = .none, report: @escaping (Qcow2CheckMessage) -> Void = { _ in }
    ) async throws(BlockError) -> Qcow2CheckResult {
        let header = try await Qcow2Image.readHeader(of: file, allowingBrokenSnapshots: true)
        if header.encryptionMethod != .none {
            throw BlockError("Encrypted qcow2 images are not supported", errno: .ENOTSUP)
        }
        let checker = Qcow2Checker(file, header: header, repair: repair, report: report)
        try await checker.readBitmapDirectory()
        do throws(Errno) {
            try await checker.run()
        } catch {
            throw BlockError("Check failed", causedBy: error)
        }
        return checker.result
    }

    private func run() async throws(Errno) {
        try await readSnapshotTable()
        try await checkRefcounts()
        let found = result
        try await checkCopiedFlags(repairing: repairsCopiedFlags(found))
        if repair == .all, snapshotErrors > 0 { try await rewriteSnapshotTable() }
        if repair != .none { try await finishRepair() }
    }

    /// Wrong flags are repaired with all errors, and after the repair of leaks if nothing else is wrong.
    private func repairsCopiedFlags(_ found: Qcow2CheckResult) -> Bool {
        switch repair {
        case .none: false
        case .all: true
        case .leaks: found.corruptions == snapshotErrors && found.leaks == 0 && found.checkErrors == 0
        }
    }

    /// Clears the marks of an image that is consistent now.
    private func finishRepair() async throws(Errno) {
        try await file.flush()
        var new = header
        new.autoclearFeatures.formIntersection(.known)
        if result.corruptions == 0, result.checkErrors == 0 {
            new.incompatibleFeatures.subtract([.dirty, .corrupt])
        }
        if new != header { try await writeHeader(new) }
    }
}

extension Qcow2Checker {
    /// Says a finding.
    func say(_ text: String) { report(Qcow2CheckMessage(text)) }

    /// Says an error of the program.
    func sayError(_ text: String) { report(Qcow2CheckMessage(text, isProgramError: true)) }

    /// Reads bytes of the file; zeroes beyond its end. EIO: the range is beyond any file.
    func read(_ offset: UInt64, _ count: Int) async throws(Errno) -> [UInt8] {
        guard count > 0 else { return [] }
        let end = offset.addingReportingOverflow(UInt64(count))
        guard !end.overflow, end.partialValue <= UInt64(BlockNode.maximumLength) else { throw .EIO }
        let buffer = BufferPool.shared.take(count: count)
        defer { BufferPool.shared.give(buffer) }
        try await file.read(Int64(offset)..<Int64(end.partialValue), into: buffer)
        return [UInt8](buffer.bytes)
    }

    /// Reads a table of 8-byte entries.
    func readTable(_ offset: UInt64, entryCount: Int) async throws(Errno) -> [UInt64] {
        let bytes = try await read(offset, entryCount * 8)
        return bytes.withUnsafeBytes { bytes in
            (0..<entryCount).map { UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
        }
    }

    /// Writes bytes to the file.
    func write(_ bytes: [UInt8], at offset: Int64) async throws(Errno) {
        guard !bytes.isEmpty else { return }
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        bytes.withUnsafeBytes { buffer.bytes.copyMemory(from: $0) }
        try await file.write(offset..<offset + Int64(bytes.count), from: buffer)
    }

    /// Writes one 8-byte entry of a table.
    func writeEntry(_ value: UInt64, at offset: Int64) async throws(Errno) {
        try await write(withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) }, at: offset)
    }

    /// Puts a new header into the image, and flushes.
    func writeHeader(_ new: Qcow2Header) async throws(Errno) {
        var bytes: [UInt8]
        do {
            bytes = try new.encoded()
        } catch {
            throw error.kind == .noSpace ? .ENOSPC : .EINVAL
        }
        bytes.append(contentsOf: repeatElement(0, count: Int(header.clusterSize) - bytes.count))
        try await write(bytes, at: 0)
        try await file.flush()
        header = new
    }

    /// "Repairing" or "ERROR".
    func prefix(_ isRepaired: Bool) -> String { isRepaired ? "Repairing" : "ERROR" }

    func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
