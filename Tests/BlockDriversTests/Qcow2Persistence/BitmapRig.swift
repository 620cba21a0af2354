import BlockDrivers
import BlockGraph
import IOLoop
import Qcow2Format

/// A qcow2 node over a disk in memory.
@GraphActor
struct BitmapRig {
    let disk: RecordingDisk
    let file: BlockNode
    let node: BlockNode
    let backend: BlockBackend
    private let fixture: GraphFixture

    init(
        _ disk: RecordingDisk, in fixture: GraphFixture, isReadOnly: Bool = false, named name: String? = nil
    ) async throws(BlockError) {
        self.disk = disk
        self.fixture = fixture
        let number = fixture.graph.nodes.count
        file = try await fixture.open("bitmap-file\(number)", disk)
        var options = NodeOptions()
        options.isReadOnly = isReadOnly
        let file = file
        do {
            let header = try await Qcow2Driver.header(of: file)
            node = try await fixture.graph.open(name: name, options: options, isOwnedByMonitor: true) { node in
                Qcow2Driver.open(
                    Qcow2Configuration(), in: node, header: header, file: file, dataFile: nil, backing: nil)
            }
        } catch {
            try await fixture.graph.delete(file)
            throw error
        }
        backend = try fixture.graph.attach(
            "test", to: node,
            permissions: PermissionPair(used: isReadOnly ? .consistentRead : [.consistentRead, .write], shared: .all))
    }

    init(
        _ bytes: [UInt8], in fixture: GraphFixture, isReadOnly: Bool = false, named name: String? = nil
    ) async throws(BlockError) {
        try await self.init(RecordingDisk(bytes), in: fixture, isReadOnly: isReadOnly, named: name)
    }

    var graph: BlockGraph { fixture.graph }
    var driver: Qcow2Driver? { node.driver as? Qcow2Driver }

    /// Makes a persistent bitmap.
    @discardableResult
    func add(_ name: String, granularity: Int64 = 512, recording: Bool = true) throws(BlockError) -> DirtyBitmap {
        try graph.addBitmap(named: name, to: node, granularity: granularity, recording: recording, persistent: true)
    }

    /// Writes to the disk.
    func write(_ range: ByteRange, _ byte: UInt8 = 1) async throws(Errno) {
        try await backend.writeBytes([UInt8](repeating: byte, count: Int(range.length)), at: range.lowerBound)
    }

    /// Closes the node and its file: the bytes of the file.
    func close() async throws -> [UInt8] {
        await graph.detach(backend)
        try await graph.delete(node)
        try await graph.delete(file)
        return disk.bytes
    }
}

extension HierarchicalBitmap {
    /// The numbers of the dirty granules.
    var dirtyGranules: Set<Int> {
        Set(
            dirtyAreas.flatMap {
                Int($0.lowerBound / granularity)..<Int(($0.upperBound + granularity - 1) / granularity)
            })
    }
}
