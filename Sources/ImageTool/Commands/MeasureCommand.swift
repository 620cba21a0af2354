import BlockDrivers
import BlockGraph
import CLinuxShims
import IOLoop
import JSON

/// `measure`: how large the file of a new image becomes.
@GraphActor
struct MeasureCommand: ImageCommand {
    nonisolated static let name = "measure"
    nonisolated static let summary = "tells how large the file of a new image becomes"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-l SNAPSHOT]
               [-O TARGET_FORMAT] [-o TARGET_OPTIONS] [--output human|json]
               [-U] [--object OBJECT] (--size SIZE | FILE)
        Tells how large the file of a new image becomes, where it is converted from FILE or is empty.

          -f, --format FORMAT          FILE's format; by default its start is looked at
              --image-opts             FILE is a list of options (key=value,...), not a name
          -l, --snapshot SNAPSHOT      the image is converted from a snapshot in FILE
          -O, --target-format FORMAT   the format of the new image: raw (default), qcow2
          -o OPTIONS                   options of the new image, as for "create"
              --output FORMAT          human (default) or json
          -U, --force-share            FILE may be in use
              --object OBJECT          make an object that options refer to
          -s, --size SIZE              the new image is empty and has this length
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .value("snapshot", "l"), .value("target-format", "O"),
        .value(nil, "o"), OutputFormat.option, .flag("force-share", "U"), ObjectList.option, .value("size", "s"),
    ]

    private var source = ImageSource()
    private var file: String?
    private var snapshot: String?
    private var targetFormat = "raw"
    private var list = OptionList()
    private var output = OutputFormat.human
    private var size: Int64?

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "snapshot": snapshot = option.value
            case "target-format": targetFormat = option.value
            case "o": try list.add(option.value)
            case "output": output = try OutputFormat(option: option.value)
            case "size": size = try Sizes.parse(option.value, what: "image size")
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        let operands = scanner.operands
        guard operands.count <= 1 else { throw ToolFailure("At most one filename argument is allowed.") }
        file = operands.first
        if file == nil, source.isOptions || source.format != nil || snapshot != nil {
            throw ToolFailure("--image-opts, -f, and -l require a filename argument.")
        }
        guard file != nil || size != nil else {
            throw ToolFailure("Either --size N or one filename must be specified.")
        }
        guard file == nil || size == nil else { throw ToolFailure("--size N cannot be used together with a filename.") }
        source.name = file ?? ""
        try source.check()
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        var image: OpenImage?
        if file != nil {
            let opened = try await session.open(source)
            image = opened
            if let snapshot { try await opened.show(snapshot) }
        }
        var creation = try creation()
        if let size { creation.size = size }
        let creationResult = creation
        let measure = try await failing { () async throws(BlockError) in
            try await creationResult.measure(convertingFrom: image?.node, in: session)
        }
        switch output {
        case .human:
            print("required size: \(measure.required)")
            print("fully allocated size: \(measure.fullyAllocated)")
            if let bitmaps = measure.bitmaps { print("bitmaps size: \(bitmaps)") }
        case .json:
            var members: JSONObject = [
                "required": .integer(measure.required), "fully-allocated": .integer(measure.fullyAllocated),
            ]
            if let bitmaps = measure.bitmaps { members["bitmaps"] = .integer(bitmaps) }
            print(JSON.object(members).outputText)
        }
        return 0
    }

    private func creation() throws(ToolFailure) -> ImageCreation {
        _ = try ImageCreation.knownOptions(of: targetFormat, inFile: true)
        do {
            return try ImageCreation(format: targetFormat, list: list)
        } catch {
            printError(error.message ?? "")
            if let hint = error.hint { cairn_print_error(hint) }
            throw ToolFailure("Invalid options for file format '\(targetFormat)'")
        }
    }
}
