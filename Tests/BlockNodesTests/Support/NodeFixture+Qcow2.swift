import BlockDrivers
import BlockGraph
import IOLoop
import Qcow2Format
import StorageTestSupport

extension NodeFixture {
    /// Makes a qcow2 image in the directory.
    func makeImage(
        _ name: String, size: Int64 = 1 << 20, clusterSize: Int64 = 65536, backing: String? = nil,
        format: String? = "qcow2", dataFile: String? = nil
    ) async throws -> String {
        let path = try makeFile(name, length: 0)
        var options = Qcow2CreationOptions(size: size)
        options.clusterSize = clusterSize
        // The format goes into the header afterwards: the creator wants one.
        options.backingFile = backing
        options.backingFormat = backing.map { _ in format ?? "raw" }
        options.dataFileName = dataFile.map { directory.file($0) }
        let file = try await open(path)
        let dataNode: BlockNode? =
            if let dataFile { try await open(try makeFile(dataFile, length: Int(size))) } else { nil }
        try await Qcow2Creator.create(options, file: file, dataFile: dataNode)
        if format == nil, backing != nil { try await removeFormat(file) }
        await graph.closeAll()
        return path
    }

    private func open(_ path: String) async throws(BlockError) -> BlockNode {
        try await graph.open(name: nil, options: NodeOptions(), isOwnedByMonitor: true) {
            (node) async throws(BlockError) in
            try await FileDriver.open(FileConfiguration(filename: path), in: node)
        }
    }

    /// Makes the image say nothing of its backing file's format.
    private func removeFormat(_ file: BlockNode) async throws {
        var header = try await Qcow2Image.readHeader(of: file)
        header.backingFormat = nil
        let bytes = try header.encoded()
        let backend = try graph.attach("a test", to: file, permissions: PermissionPair(used: .write))
        defer { graph.release(backend) }
        let buffer = BufferPool.shared.take(count: bytes.count)
        defer { BufferPool.shared.give(buffer) }
        bytes.withUnsafeBytes { buffer.copy(from: IOBuffer($0)) }
        try await backend.write(0..<Int64(bytes.count), from: buffer)
    }
}
