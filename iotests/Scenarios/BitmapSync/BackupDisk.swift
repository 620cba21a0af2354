import IOTests
import JSON

/// What the runs have in common: a server with the disk "drive0", and images to back it up to.
struct BackupDisk: Sendable {
    let context: ScenarioContext
    let server: ServerInstance

    /// Starts a server and logs that it gets the disk over `file`.
    static func start(_ context: ScenarioContext, file: JSON) async throws -> BackupDisk {
        context.log("--- Preparing image & VM ---\n")
        try await context.imageSucceeding(
            "create", "-q", "-f", "qcow2", context.path("img"), String(Disk.size))
        let server = try await context.startServer()
        try await server.logged("blockdev-add", ["driver": "qcow2", "file": file, "node-name": "drive0"])
        try await server.attachGuest(to: "drive0")
        return BackupDisk(context: context, server: server)
    }

    /// The file of the disk, without anything around it.
    static func file(_ context: ScenarioContext) -> JSON {
        ["driver": "file", "filename": .string(context.path("img"))]
    }

    /// Makes an image and opens it as a node.
    func createTarget(_ node: String, file: String) async throws {
        let path = context.path(file)
        try await create("bdc-file-job", ["driver": "file", "filename": .string(path), "size": 0])
        try await add(["driver": "file", "filename": .string(path), "node-name": .string(node + "-file")])
        try await create(
            "bdc-fmt-job", ["driver": "qcow2", "file": .string(node + "-file"), "size": .integer(Disk.size)])
        try await add(["driver": "qcow2", "file": .string(node + "-file"), "node-name": .string(node)])
    }

    private func create(_ job: String, _ options: JSON) async throws {
        context.log(try await server.succeed("blockdev-create", ["job-id": .string(job), "options": options]))
        try await server.waitForJob(job, "concluded")
        try await server.logged("job-dismiss", ["id": .string(job)])
    }

    private func add(_ options: JSONObject) async throws {
        context.log(try await server.succeed("blockdev-add", options))
    }

    /// Closes an image.
    func closeTarget(_ node: String) async throws {
        try await server.succeed("blockdev-del", ["node-name": .string(node)])
        try await server.succeed("blockdev-del", ["node-name": .string(node + "-file")])
    }

    /// Starts a backup of the disk, and logs it.
    func startBackup(_ job: String, to target: String, sync: String, _ more: JSONObject = [:]) async throws {
        var arguments: JSONObject = [
            "job-id": .string(job), "device": "drive0", "target": .string(target), "sync": .string(sync),
            "filter-node-name": "backup-top", "x-perf": ["max-workers": 1],
        ]
        for (name, value) in more.members { arguments[name] = value }
        try await server.logged("blockdev-backup", arguments)
    }

    /// The dirty bitmaps of all nodes that have some.
    func bitmaps() async throws -> JSONObject {
        var found = JSONObject()
        guard case .array(let nodes) = try await server.succeed("query-named-block-nodes") else { return found }
        for case .object(let node) in nodes {
            guard case .string(let name)? = node["node-name"], case .array(let bitmaps)? = node["dirty-bitmaps"]
            else { continue }
            found[name] = .array(bitmaps)
        }
        return found
    }
}
