import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

/// What kind of image a test makes.
struct Qcow2Shape: Sendable, CustomStringConvertible {
    /// What lies below the image.
    enum Backing: String, Sendable {
        case none, raw, qcow2, shorter, longer
    }

    /// The options of `qemu-img create -o`.
    var options: [String]
    /// The length of the disk in bytes.
    var size: Int
    var clusterSize: Int
    var backing = Backing.none
    var configuration = Qcow2Configuration()
    /// Whether the page cache is left out, so that requests to the file have an alignment.
    var isDirect = false

    init(
        clusterSize: Int, _ options: [String] = [], backing: Backing = .none, size: Int? = nil, isDirect: Bool = false
    ) {
        self.isDirect = isDirect
        self.options = ["cluster_size=\(clusterSize)"] + options
        self.clusterSize = clusterSize
        self.backing = backing
        // The last cluster is not whole.
        self.size = size ?? max(16 * clusterSize, 1 << 20) + 3 * 512 + (clusterSize > 4096 ? clusterSize / 2 : 0)
    }

    var description: String {
        "\(options.joined(separator: ",")) backing=\(backing.rawValue) size=\(size)\(isDirect ? " direct" : "")"
    }
    var isVersion2: Bool { options.contains("compat=0.10") }
    /// Whether there can be snapshots: compressed clusters need refcounts of more than two bits.
    var hasSnapshots: Bool {
        !hasDataFile && !options.contains("refcount_bits=1") && !options.contains("refcount_bits=2")
    }
    var hasSubclusters: Bool { options.contains("extended_l2=on") }
    var hasDataFile: Bool { options.contains { $0.hasPrefix("data_file=") } }
}

/// The program that makes and checks images for the tests; nil where it is not installed.
let imageTool = installedPrograms("qemu-img").last

/// An image file with what it should hold.
final class Qcow2DriverFiles: Sendable {
    let directory = TemporaryDirectory()
    let shape: Qcow2Shape
    /// What the disk holds at first.
    let initial: [UInt8]

    init(_ shape: Qcow2Shape, seed: UInt64) throws {
        self.shape = shape
        var arguments = ["create", "-q", "-f", "qcow2"]
        var options = shape.options
        for index in options.indices where options[index].hasPrefix("data_file=") {
            options[index] = "data_file=" + directory.file("image.data")
        }
        arguments += ["-o", options.joined(separator: ",")]
        var below: [UInt8] = []
        if shape.backing != .none {
            let length =
                switch shape.backing {
                case .shorter: shape.size * 2 / 3 / 512 * 512
                case .longer: shape.size + 3 * shape.clusterSize / 2 / 512 * 512
                default: (shape.size + 511) / 512 * 512
                }
            below = Self.backingBytes(length, seed: seed)
            writeFile(directory.file("base.raw"), below)
            if shape.backing == .qcow2 {
                try Self.tool(["convert", "-O", "qcow2", directory.file("base.raw"), directory.file("base.qcow2")])
                arguments += ["-b", directory.file("base.qcow2"), "-F", "qcow2"]
            } else {
                arguments += ["-b", directory.file("base.raw"), "-F", "raw"]
            }
        }
        try Self.tool(arguments + [directory.file("image.qcow2"), "\(shape.size)"])
        initial = Array((below + [UInt8](repeating: 0, count: max(0, shape.size - below.count))).prefix(shape.size))
    }

    /// Bytes with data, repeated bytes and zeroes in turns.
    private static func backingBytes(_ length: Int, seed: UInt64) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length)
        while bytes.count < length {
            let count = min(length - bytes.count, Int.random(in: 1...max(2, length / 16), using: &random))
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes += [UInt8](repeating: 0, count: count)
            case 1: bytes += [UInt8](repeating: UInt8.random(in: 1...255, using: &random), count: count)
            default: bytes += (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            }
        }
        return bytes
    }

    /// Runs the image tool; what it prints.
    @discardableResult
    static func tool(_ arguments: [String], allowing statuses: [Int32] = [0]) throws -> String {
        let program = try #require(imageTool)
        let log = TemporaryDirectory()
        let (status, output) = run([program] + arguments, output: log.file("log"))
        try #require(statuses.contains(status), "qemu-img \(arguments): \(status) \(output)")
        return output
    }

    var image: String { directory.file("image.qcow2") }

    /// Takes an internal snapshot.
    func takeSnapshot(_ name: String) throws { try Self.tool(["snapshot", "-c", name, image]) }

    /// Checks that a snapshot holds the bytes.
    func verifySnapshot(_ name: String, _ bytes: [UInt8], _ comment: String) throws {
        try Self.tool([
            "convert", "-f", "qcow2", "-O", "raw", "-l", "snapshot.name=\(name)", image, directory.file("snapshot.raw"),
        ])
        #expect(Array(contents(directory.file("snapshot.raw")).prefix(bytes.count)) == bytes, "\(comment): \(name)")
    }

    /// Checks that the image is consistent, and that it holds the bytes.
    func verify(_ bytes: [UInt8], _ comment: String, allowingLeaks: Bool = false) throws {
        let check = try Self.tool(["check", image], allowing: allowingLeaks ? [0, 3] : [0])
        #expect(allowingLeaks || check.contains("No errors were found on the image."), "\(comment): \(check)")
        writeFile(directory.file("model.raw"), bytes)
        let compare = try Self.tool(
            ["compare", "-f", "raw", "-F", "qcow2", directory.file("model.raw"), image], allowing: [0, 1, 2])
        #expect(compare.contains("Images are identical."), "\(comment): \(compare)")
    }
}

/// Writes a file.
func writeFile(_ path: String, _ bytes: [UInt8]) {
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0)
    precondition(write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
}

/// An image that is open in a graph of its own.
final class Qcow2DriverRig: Sendable {
    let graph: BlockGraph
    let node: BlockNode
    let guest: BlockBackend

    private init(graph: BlockGraph, node: BlockNode, guest: BlockBackend) {
        self.graph = graph
        self.node = node
        self.guest = guest
    }

    var driver: Qcow2Driver? { node.driver as? Qcow2Driver }

    /// Opens an image with its backing chain and data file.
    ///
    /// - Parameter wrapping: what comes between the driver and its file.
    @GraphActor
    static func open(
        _ files: Qcow2DriverFiles, readOnly: Bool = false,
        wrapping: @GraphActor (BlockGraph, BlockNode) async throws(BlockError) -> BlockNode = { (_, node) in node }
    ) async throws(BlockError) -> Qcow2DriverRig {
        let graph = BlockGraph()
        let options = NodeOptions.with {
            $0.discard = .unmap
            $0.isReadOnly = readOnly
            $0.cacheDirect = files.shape.isDirect
        }
        let file = try await wrapping(graph, try await graph.openFile(files.image, options: options))
        let node = try await openImage(
            graph, file, files, options: options, configuration: files.shape.configuration)
        let used: BlockPermissions = readOnly ? .consistentRead : [.consistentRead, .write, .resize]
        let guest = try graph.attach("test", to: node, permissions: PermissionPair(used: used, shared: .all))
        return Qcow2DriverRig(graph: graph, node: node, guest: guest)
    }

    @GraphActor
    private static func openImage(
        _ graph: BlockGraph, _ file: BlockNode, _ files: Qcow2DriverFiles, options: NodeOptions,
        configuration: Qcow2Configuration
    ) async throws(BlockError) -> BlockNode {
        var backing: BlockNode?
        let below = NodeOptions.with { $0.isReadOnly = true }
        switch files.shape.backing {
        case .none: break
        case .qcow2:
            let base = try await graph.openFile(files.directory.file("base.qcow2"), options: below)
            let header = try await Qcow2Driver.header(of: base)
            backing = try await graph.open(name: nil, options: below) { node in
                Qcow2Driver.open(
                    Qcow2Configuration(), in: node, header: header, file: base, dataFile: nil, backing: nil)
            }
        case .raw, .shorter, .longer:
            let base = try await graph.openFile(files.directory.file("base.raw"), options: below)
            backing = try await graph.open(name: nil, options: below) { node in
                RawDriver.open(RawConfiguration(), in: node, file: base)
            }
        }
        let dataFile =
            files.shape.hasDataFile
            ? try await graph.openFile(files.directory.file("image.data"), options: options) : nil
        let header = try await Qcow2Driver.header(of: file)
        return try await graph.open(name: "image", options: options, isOwnedByMonitor: true) { node in
            Qcow2Driver.open(configuration, in: node, header: header, file: file, dataFile: dataFile, backing: backing)
        }
    }

    /// Closes everything.
    @GraphActor func close() async {
        await graph.detach(guest)
        await graph.closeAll()
    }
}
