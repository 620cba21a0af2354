import BlockGraph
import BlockNodes
import IOLoop

/// `create`: makes an image.
@GraphActor
struct CreateCommand: ImageCommand {
    nonisolated static let name = "create"
    nonisolated static let summary = "makes an image"
    nonisolated static let help = """
        [-f FORMAT] [-o OPTIONS] [-b BACKING_FILE [-B BACKING_FORMAT]] [-u]
               [-q] [--object OBJECT] FILE [SIZE]
        Makes an image.

          -f, --format FORMAT           the format: raw (default), qcow2
          -o, --options OPTIONS         options of the format (key=value,...); "-o help" lists them
          -b, --backing FILE            what the new image does not have comes from FILE
          -B, --backing-format FORMAT   the format of the backing file (also -F)
          -u, --backing-unsafe          the backing file need not be there
          -q, --quiet                   print nothing but errors
              --object OBJECT           make an object that options refer to

        SIZE is the length of the disk in bytes or with a unit of k, M, G, T, P or E; by default that of the backing file.
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .value("options", "o"), .value("backing", "b"), .value("backing-format", "B"),
        .value(nil, "F", key: "backing-format"), .flag("backing-unsafe", "u"), .flag("quiet", "q"), ObjectList.option,
    ]

    private var format = "raw"
    private var list = OptionList()
    private var backingFile: String?
    private var backingFormat: String?
    private var isUnsafe = false
    private var isQuiet = false
    private var file = ""
    private var size: Int64?
    private var hasFile: Bool { !file.isEmpty || hasEmptyName }
    private var hasEmptyName = false

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            switch option.key {
            case "format": format = option.value
            case "options": try list.add(option.value)
            case "backing": backingFile = option.value
            case "backing-format": backingFormat = option.value
            case "backing-unsafe": isUnsafe = true
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        let operands = scanner.operands
        if let name = operands.first {
            file = name
            hasEmptyName = name.isEmpty
        } else if !list.asksForHelp {
            throw .usage("Expecting image file name")
        }
        if operands.count > 1 { size = try Sizes.parse(operands[1], what: "image size") }
        guard operands.count <= 2 else { throw .usage("Unexpected argument: \(operands[2])") }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        if list.asksForHelp {
            print(try ImageCreation.help(for: format, hasFile: hasFile), terminator: "")
            return 0
        }
        do {
            let creation = try await creation(in: session)
            if !isQuiet { print("Formatting '\(file)', fmt=\(format) \(creation.options.text)") }
            try await failing { () async throws(BlockError) in try await creation.create(at: file, in: session) }
        } catch {
            throw error.naming(file)
        }
        return 0
    }

    /// What is to be made, with the length taken from the backing file where none is given.
    private func creation(in session: ImageSession) async throws(ToolFailure) -> ImageCreation {
        _ = try ImageCreation.knownOptions(of: format, inFile: true)
        try checkProtocol()
        guard list["size"] == nil || size == nil else {
            throw ToolFailure("The image size must be specified only once")
        }
        var creation = try ImageCreation(format: format, list: list)
        if let size { creation.size = size }
        try creation.setBacking(file: backingFile, format: backingFormat)
        if let name = creation.backingFile {
            guard !name.isEmpty else { throw ToolFailure("Expected backing file name, got empty string") }
            guard name != file else {
                throw ToolFailure("Error: Trying to create an image with the same filename as the backing file")
            }
            try await takeBacking(name, into: &creation, session)
        }
        guard creation.value(of: "size") != nil else { throw ToolFailure("Image creation needs a size parameter") }
        return creation
    }

    /// Failure: the name's protocol is not known.
    private func checkProtocol() throws(ToolFailure) {
        guard let end = file.firstIndex(where: { $0 == ":" || $0 == "/" }), file[end] == ":" else { return }
        let scheme = file[..<end]
        guard scheme == "file" || scheme == "host_device" else { throw ToolFailure("Unknown protocol '\(scheme)'") }
    }

    /// Opens the backing file for its length and format.
    private func takeBacking(
        _ name: String, into creation: inout ImageCreation, _ session: ImageSession
    ) async throws(ToolFailure) {
        let isFormatMissing = creation.backingFormat == nil
        let needsLength = creation.value(of: "size") == nil
        if isUnsafe {
            if isFormatMissing { throw ToolFailure("Backing file specified without backing format") }
            return
        }
        do throws(BlockError) {
            let path = try ImageName.resolve(name, relativeTo: file)
            var options = NodeOptions()
            // Nothing of it is read but its header: whoever writes to it may go on.
            (options.isReadOnly, options.forceShare) = (true, true)
            let node = try await session.factory.openImage(
                named: path, format: creation.backingFormat, options: options, isRoot: false)
            let (length, format) = (node.length, node.driver.driverName)
            await session.graph.closeIfUnused(node)
            if isFormatMissing {
                throw BlockError("Backing file specified without backing format", hint: "Detected format of \(format).")
            }
            if needsLength { creation.size = length }
        } catch {
            if error.hint?.hasPrefix("Detected") == true { throw ToolFailure(error) }
            throw ToolFailure(error.description, hint: "Could not open backing image.")
        }
    }
}

extension ToolFailure {
    /// The failure with the image's name before the message.
    fileprivate func naming(_ file: String) -> ToolFailure {
        var failure = self
        failure.message = message.map { "\(file): \($0)" }
        return failure
    }
}
