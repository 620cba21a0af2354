import BlockGraph
import IOLoop

/// Which internal snapshot is meant: by its name or number, or by "snapshot.id=ID,snapshot.name=NAME".
struct SnapshotChoice: Hashable, Sendable {
    private var id: String?
    private var name: String?
    private var either: String?

    /// What the value of `-l` says. Failure: it names an option that there is not.
    init(_ text: String) throws(ToolFailure) {
        guard text.hasPrefix("snapshot.") else {
            either = text
            return
        }
        var list = OptionList()
        try list.add(text)
        for item in list.items {
            switch item.name {
            case "snapshot.id": id = item.value
            case "snapshot.name": name = item.value
            default:
                throw ToolFailure(
                    """
                    Invalid parameter '\(item.name)'
                    \(programName): Failed in parsing snapshot param '\(text)'
                    """)
            }
        }
    }

    /// The snapshot among those of an image; nil where it is not there.
    func find(in snapshots: [InternalSnapshot]) -> InternalSnapshot? {
        if let either { return snapshots.first { $0.id == either } ?? snapshots.first { $0.name == either } }
        return snapshots.first { snapshot in
            (id.map { $0 == snapshot.id } ?? true) && (name.map { $0 == snapshot.name } ?? true)
        }
    }
}
