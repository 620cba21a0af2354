import BlockGraph
import BlockNodes
import IOLoop
import QMPSchema

/// `snapshot`: internal snapshots of an image.
@GraphActor
struct SnapshotCommand: ImageCommand {
    nonisolated static let name = "snapshot"
    nonisolated static let summary = "lists, makes, applies and deletes internal snapshots"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-l | -a|-c|-d SNAPSHOT]
               [-U] [-q] [--object OBJECT] FILE
        Lists, makes, applies and deletes internal snapshots.

          -f, --format FORMAT     the image's format; by default its start is looked at
              --image-opts        FILE is a list of options (key=value,...), not a name
          -l, --list              list the snapshots (default)
          -c, --create SNAPSHOT   make a snapshot
          -a, --apply SNAPSHOT    give the disk the contents of a snapshot
          -d, --delete SNAPSHOT   delete a snapshot
          -U, --force-share       the image may be in use
          -q, --quiet             print nothing but errors
              --object OBJECT     make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .flag("list", "l"), .value("create", "c"), .value("apply", "a"),
        .value("delete", "d"), .flag("force-share", "U"), .flag("quiet", "q"), ObjectList.option,
    ]

    /// What is done.
    private enum Action: Hashable { case list, create(String), apply(String), delete(String) }

    private var source = ImageSource()
    private var action: Action?

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "list": try take(.list)
            case "create": try take(.create(option.value))
            case "apply": try take(.apply(option.value))
            case "delete": try take(.delete(option.value))
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
    }

    private mutating func take(_ next: Action) throws(ToolFailure) {
        guard action == nil else { throw .usage("Cannot mix '-l', '-a', '-c', '-d'") }
        action = next
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let action = action ?? .list
        let node = try await session.open(source, action == .list ? .reading : .writing).node
        switch action {
        case .list: list(node)
        case .create(let name):
            try await change(node, "Could not create snapshot '\(name)'", without: "\(Errno.ENOTSUP)") {
                (store) async throws(BlockError) in
                do throws(Errno) {
                    // No machine has run: it has executed nothing.
                    _ = try await store.create(name: name, instructionCount: 0)
                } catch {
                    throw BlockError("\(error)", errno: error)
                }
            }
        case .apply(let name):
            let missing = "Block driver does not support snapshots"
            try await change(node, "Could not apply snapshot '\(name)'", without: missing) {
                (store) async throws(BlockError) in
                let snapshots = (try? store.list()) ?? []
                guard
                    let found = snapshots.first(where: { $0.id == name }) ?? snapshots.first(where: { $0.name == name })
                else { throw BlockError("Failed to load snapshot", causedBy: .ENOENT) }
                try await store.apply(id: found.id)
            }
        case .delete(let name):
            try await change(node, "Could not delete snapshot '\(name)'", without: "snapshot not found") {
                (store) async throws(BlockError) in
                guard let found = ((try? store.list()) ?? []).first(where: { $0.name == name }) else {
                    throw BlockError("snapshot not found")
                }
                try await store.delete(id: found.id)
            }
        }
        return 0
    }

    private func list(_ node: BlockNode) {
        guard let snapshots = try? node.snapshotStore?.store.list(), !snapshots.isEmpty else { return }
        print("Snapshot list:")
        print(SnapshotLine.heading)
        for snapshot in snapshots { print(SnapshotLine.text(SnapshotInfo(snapshot))) }
    }

    /// Changes the snapshots of a node in a drained section; `missing` is what is wrong where it can have none.
    private func change(
        _ node: BlockNode, _ prefix: String, without missing: String,
        _ body: (any InternalSnapshotStore) async throws(BlockError) -> Void
    ) async throws(ToolFailure) {
        do throws(BlockError) {
            guard let (owner, store) = node.snapshotStore else { throw BlockError(missing) }
            try await node.graph.drained([owner]) { () async throws(BlockError) in try await body(store) }
        } catch {
            throw ToolFailure(error, doing: prefix)
        }
    }
}
