import BlockGraph
import Compression
import IOLoop
import Qcow2Format
import Synchronization

/// A disk in the qcow2 format. Spec: qcow2.txt.
///
/// The tables are the business of `Qcow2Image`; the driver maps requests to them and moves the data. What keeps requests
/// out of each other's way: only the holder of a guest cluster's token in `changes` changes its entry; an entry says that
/// data is there only once the data has been written; a host cluster that an entry gave up is used again only when the
/// requests that may know of it are done.
public final class Qcow2Driver: BlockDriver {
    /// How many parts of one request are read or written at the same time.
    static let concurrency = 8

    /// The file with the header and the tables, and with the data where there is no data file.
    public let file: BlockChild
    /// The external data file, where there is one.
    public let dataFile: BlockChild?
    /// The guest clusters whose entries are being changed.
    let changes = RangeTracker()
    /// Behind this offset of the data file nobody has tried to write since the image was opened.
    let touchedEnd = Atomic<Int64>(0)
    /// Whether it is worth asking the file which clusters are holes.
    let sparseness = Atomic<Sparseness>(.unknown)

    /// The options. Written before any I/O and in drained sections.
    nonisolated(unsafe) var configuration: Qcow2Configuration
    /// The header as it was read before the image was open.
    private let formerHeader: Qcow2Header
    /// Set when the driver starts, and in drained sections, when no I/O reads it.
    nonisolated(unsafe) var openImage: Qcow2Image? {
        didSet {
            guard let openImage else { return }
            openSnapshots?.move(to: openImage)
            openBitmaps?.move(to: openImage)
        }
    }
    /// The node that the image was read from.
    @GraphActor private(set) var openedFile: BlockNode?
    /// Set when the driver starts.
    nonisolated(unsafe) var openSnapshots: Qcow2Snapshots?
    nonisolated(unsafe) var openBitmaps: Qcow2Bitmaps?
    private nonisolated(unsafe) var openCompressor = Compressor(.zlib)
    /// Written before any I/O and in drained sections, when no I/O reads them.
    nonisolated(unsafe) var currentBacking: BlockChild?
    /// What the file took up when the image was opened, in bytes; nil where unknown.
    private(set) nonisolated(unsafe) var initialAllocation: Int64?
    private nonisolated(unsafe) var currentLimits = BlockLimits()

    private init(
        _ configuration: Qcow2Configuration, header: Qcow2Header, file: BlockChild, dataFile: BlockChild?,
        backing: BlockChild?
    ) {
        self.configuration = configuration
        formerHeader = header
        self.file = file
        self.dataFile = dataFile
        currentBacking = backing
    }

    /// Attaches the children to a node that is being opened; the image is read when the node starts.
    ///
    /// - Parameters:
    ///   - header: the image's header, as `header(of:)` read it.
    ///   - file: the image.
    ///   - dataFile: the external data file of an image that has one.
    ///   - backing: the backing file, where there is one.
    @GraphActor
    public static func open(
        _ configuration: Qcow2Configuration, in node: BlockNode, header: Qcow2Header, file: BlockNode,
        dataFile: BlockNode?, backing: BlockNode?
    ) -> Qcow2Driver {
        let graph = node.graph
        let role: ChildRole = dataFile == nil ? [.metadata, .data, .primary] : [.metadata, .primary]
        let fileEdge = graph.attach(file, to: node, as: "file", role: role)
        let dataEdge = dataFile.map { graph.attach($0, to: node, as: "data-file", role: .data) }
        let backingEdge = backing.map { graph.attach($0, to: node, as: "backing", role: .copyOnWrite) }
        return Qcow2Driver(configuration, header: header, file: fileEdge, dataFile: dataEdge, backing: backingEdge)
    }

    /// The tables. Only after the node has started.
    public var image: Qcow2Image {
        guard let openImage else { preconditionFailure("a qcow2 image is used before it is open") }
        return openImage
    }

    /// Compresses and decompresses clusters.
    var compressor: Compressor { openCompressor }

    /// The header of an image before it is open. Errors: it cannot be read; the image cannot be opened, in QEMU's words.
    public static func header(of file: BlockNode) async throws(BlockError) -> Qcow2Header {
        try await Qcow2Image.readHeader(of: file)
    }

    /// The backing file, where there is one. Changes in drained sections only.
    public var backing: BlockChild? { currentBacking }

    /// The name of the backing image that the header stands for: what the header says, or what that led to when it was opened.
    @GraphActor public var automaticBackingFile: String?
    /// Whether the backing image that the header names is not open since nobody wanted it, rather than since options say so.
    @GraphActor public var leavesBackingClosed = false

    public var driverName: String { "qcow2" }
    public var length: Int64 { openImage?.virtualSize ?? 0 }
    public var backingChild: BlockChild? { currentBacking }
    public var clusterSize: Int64? { openImage?.geometry.clusterSize }
    public var supportedWriteFlags: WriteFlags { .compressed }
    public var supportedZeroFlags: WriteFlags { [.mayUnmap, .noFallback] }

    /// Zeroing works in multiples of subclusters, discarding in multiples of clusters; data go anywhere.
    public var limits: BlockLimits { currentLimits }

    /// Writes the tables back, with the data before them, and makes all durable.
    public func flush() async throws(Errno) { try await image.commit() }

    // MARK: Control

    /// Reads the image. Errors, in QEMU's words: it is not one, or one that cannot be opened; the file's.
    @GraphActor public func start(in node: BlockNode) async throws(BlockError) {
        var header = formerHeader
        if header.incompatibleFeatures.contains(.dirty), !node.isReadOnly {
            try Qcow2Image.checkWritable(header)
            header = try await repaired()
        }
        let image = try await Qcow2Image.open(configuration, header: header, in: node, file: file, dataFile: dataFile)
        initialAllocation = await file.node.driver.allocatedSize()
        install(image)
        try await loadPersistence()
    }

    /// Repairs an image whose refcounts may be wrong, and returns its new header. Errors: it could not be repaired.
    @GraphActor private func repaired() async throws(BlockError) -> Qcow2Header {
        do throws(BlockError) {
            let result = try await Qcow2Checker.check(file.node, repair: .all)
            guard result.corruptions == 0, result.checkErrors == 0 else {
                throw BlockError("Check failed", causedBy: .EIO)
            }
        } catch {
            throw BlockError("Could not repair dirty image", causedBy: error.errno ?? .EIO)
        }
        return try await Qcow2Image.readHeader(of: file.node)
    }

    /// Takes an image that was opened. Before any I/O or in a drained section.
    @GraphActor func install(_ image: Qcow2Image) {
        openedFile = file.node
        openCompressor = Compressor(image.header.compressionType == .zstd ? .zstd : .zlib)
        currentLimits.writeZeroesAlignment = image.geometry.subclusterSize
        currentLimits.discardAlignment = image.geometry.clusterSize
        openImage = image
    }

    /// Stores the bitmaps, and writes everything back. Nobody hears of an error of that: data were flushed before, and at
    /// most clusters leak. The tables' memory is given back, even where something still knows the node.
    @GraphActor public func close() async {
        await openBitmaps?.storeForGood()
        try? await openImage?.makeClean()
        openImage = nil
        openSnapshots = nil
        openBitmaps = nil
    }
}
