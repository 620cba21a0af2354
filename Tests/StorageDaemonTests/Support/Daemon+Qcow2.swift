import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import StorageTestSupport

extension Daemon {
    /// Makes a qcow2 image in the directory.
    func makeImage(
        _ name: String, size: Int, clusterSize: Int64 = 65536, extendedL2: Bool = false, backing: String? = nil,
        backingFormat: String = "qcow2"
    ) async throws {
        startMainLoop()
        try await makeFile(name, size: 0)
        var options = Qcow2CreationOptions(size: Int64(size))
        options.clusterSize = clusterSize
        options.extendedL2 = extendedL2
        options.backingFile = backing
        options.backingFormat = backing.map { _ in backingFormat }
        try await Self.create(options, in: directory.file(name))
    }

    @GraphActor private static func create(_ options: Qcow2CreationOptions, in path: String) async throws {
        let graph = BlockGraph()
        let file = try await graph.open(name: nil, options: NodeOptions(), isOwnedByMonitor: true) {
            (node) async throws(BlockError) in
            try await FileDriver.open(FileConfiguration(filename: path), in: node)
        }
        try await Qcow2Creator.create(options, file: file)
        await graph.closeAll()
    }

    /// Adds a node for a qcow2 image of the directory; further options may be added.
    func addImage(_ node: String, _ name: String, _ more: JSONObject = [:]) async throws {
        var options: JSONObject = [
            "driver": "qcow2", "node-name": .string(node), "discard": "unmap",
            "file": ["driver": "file", "filename": .string(directory.file(name)), "discard": "unmap"],
        ]
        for member in more.members { options[member.name] = member.value }
        try await add(options)
    }
}
