import BlockGraph
import IOLoop

/// `bitmap`: changes the dirty bitmaps that an image keeps.
@GraphActor
struct BitmapCommand: ImageCommand {
    nonisolated static let name = "bitmap"
    nonisolated static let summary = "changes the dirty bitmaps that an image keeps"
    nonisolated static let help = """
        [-f FORMAT | --image-opts]
               ( --add [-g SIZE] | --remove | --remove-all | --clear | --enable |
                 --disable | --merge SOURCE [-b SOURCE_FILE [-F SOURCE_FORMAT]] )...
               [--object OBJECT] FILE [BITMAP]
        Changes the dirty bitmaps that an image keeps. Several actions happen in the order in which they are given.

          -f, --format FORMAT          the image's format; by default its start is looked at
              --image-opts             FILE is a list of options (key=value,...), not a name
              --add                    make the bitmap; it records writes from then on
          -g, --granularity SIZE       the bytes that a bit of the new bitmap stands for
              --remove                 delete the bitmap
              --remove-all             delete all bitmaps of the image
              --clear                  make the bitmap empty
              --enable, --disable      start or stop recording
              --merge SOURCE           add what the bitmap SOURCE holds
          -b, --source-file FILE       SOURCE is in this image
          -F, --source-format FORMAT   the format of that image
              --object OBJECT          make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .flag("add"), .value("granularity", "g"), .flag("remove"),
        .flag("remove-all"), .flag("clear"), .flag("enable"), .flag("disable"), .value("merge"),
        .value("source-file", "b"), .value("source-format", "F"), ObjectList.option,
    ]

    /// A change of the bitmap.
    enum Action: Hashable {
        case add, remove, removeAll, clear, enable, disable
        case merge(String)

        /// The action in messages.
        var name: String {
            switch self {
            case .add: "add"
            case .remove: "remove"
            case .removeAll: "remove-all"
            case .clear: "clear"
            case .enable: "enable"
            case .disable: "disable"
            case .merge: "merge"
            }
        }
    }

    private var source = ImageSource()
    private var mergeSource: ImageSource?
    private var actions: [Action] = []
    private var granularity: Int64 = 0
    private var bitmap = ""

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var sourceFormat: String?
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "add": actions.append(.add)
            case "granularity": granularity = try Sizes.parse(option.value, what: "granularity")
            case "remove": actions.append(.remove)
            case "remove-all": actions.append(.removeAll)
            case "clear": actions.append(.clear)
            case "enable": actions.append(.enable)
            case "disable": actions.append(.disable)
            case "merge": actions.append(.merge(option.value))
            case "source-file": mergeSource = ImageSource(option.value)
            case "source-format": sourceFormat = option.value
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard !actions.isEmpty else {
            throw ToolFailure(
                "Need at least one of --add, --remove, --remove-all, --clear, --enable, --disable, or --merge")
        }
        mergeSource?.format = sourceFormat
        try checkCombination(sourceFormat)
        try takeOperands(scanner.operands)
        try source.check()
    }

    private func checkCombination(_ sourceFormat: String?) throws(ToolFailure) {
        let merges = actions.contains { if case .merge = $0 { true } else { false } }
        if granularity != 0, !actions.contains(.add) { throw ToolFailure("granularity only supported with --add") }
        if sourceFormat != nil, mergeSource == nil { throw ToolFailure("-F only supported with -b") }
        if mergeSource != nil, !merges { throw ToolFailure("Merge bitmap source file only supported with --merge") }
    }

    private mutating func takeOperands(_ operands: [String]) throws(ToolFailure) {
        if actions.allSatisfy({ $0 == .removeAll }) {
            guard operands.count == 1 else { throw ToolFailure("Expecting filename") }
        } else {
            guard operands.count == 2 else { throw ToolFailure("Expecting filename and bitmap name") }
            bitmap = operands[1]
        }
        source.name = operands[0]
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let node = try await session.open(source, .writing, .top).node
        let mergeNode: BlockNode? =
            if let mergeSource { try await session.open(mergeSource, .reading, .top).node } else { nil }
        for action in actions {
            do throws(BlockError) {
                try await perform(action, on: node, mergingFrom: mergeNode ?? node)
            } catch {
                throw ToolFailure(error, doing: "Operation \(action.name) on bitmap \(bitmap) failed")
            }
        }
        return 0
    }

    private func perform(
        _ action: Action, on node: BlockNode, mergingFrom mergeNode: BlockNode
    ) async throws(BlockError) {
        let graph = node.graph
        switch action {
        case .add:
            guard granularity <= UInt32.max else {
                throw BlockError("Granularity must be power of 2 and at least 512")
            }
            _ = try graph.addBitmap(
                named: bitmap, to: node, granularity: granularity == 0 ? nil : granularity, persistent: true)
        case .remove: try await graph.removeBitmap(try find(bitmap, on: node, no: []), of: node)
        case .removeAll:
            for bitmap in node.bitmaps.all where bitmap.isPersistent {
                try await graph.removeBitmap(bitmap, of: node)
            }
        case .clear: _ = try find(bitmap, on: node, no: .toChange).clear()
        case .enable: try find(bitmap, on: node, no: .toUse).isRecording = true
        case .disable: try find(bitmap, on: node, no: .toUse).isRecording = false
        case .merge(let name):
            let target = try find(bitmap, on: node, no: .toChange)
            let source = try find(name, on: mergeNode, no: .toUse).snapshot()
            do {
                _ = try target.merge([source])
            } catch {
                throw BlockError(error)
            }
        }
    }

    private func find(
        _ name: String, on node: BlockNode, no obstacles: DirtyBitmap.Obstacles
    ) throws(BlockError) -> DirtyBitmap {
        do {
            let bitmap = try node.bitmaps.find(name)
            try bitmap.require(no: obstacles)
            return bitmap
        } catch {
            throw BlockError(error)
        }
    }
}
