import BlockGraph
import IOLoop

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
        let image = try await session.open(source, action == .list ? .reading : .writing)
        _ = image
        switch action {
        case .list: return 0
        case .create(let name): throw ToolFailure("Could not create snapshot '\(name)': Operation not supported")
        case .apply(let name):
            throw ToolFailure("Could not apply snapshot '\(name)': Block driver does not support snapshots")
        case .delete(let name): throw ToolFailure("Could not delete snapshot '\(name)': snapshot not found")
        }
    }
}
