import BlockGraph
import BlockNodes
import IOLoop

/// `map`: where the bytes of an image lie.
@GraphActor
struct MapCommand: ImageCommand {
    nonisolated static let name = "map"
    nonisolated static let summary = "tells where the bytes of an image lie"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-s OFFSET] [-l LENGTH]
               [--output human|json] [-U] [--object OBJECT] FILE
        Tells where the bytes of an image lie: in which file of its backing chain, and at which offset.

          -f, --format FORMAT         the image's format; by default its start is looked at
              --image-opts            FILE is a list of options (key=value,...), not a name
          -s, --start-offset OFFSET   where to start in the image; by default at 0
          -l, --max-length LENGTH     how many bytes to look at; by default up to the end
              --output FORMAT         human (default): only what lies in files; json: everything
          -U, --force-share           the image may be in use
              --object OBJECT         make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .value("start-offset", "s"), .value("max-length", "l"),
        OutputFormat.option, .flag("force-share", "U"), ObjectList.option,
    ]

    private var source = ImageSource()
    private var start: Int64 = 0
    private var count: Int64?
    private var output = OutputFormat.human

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "start-offset": start = try Sizes.parse(option.value, what: "start offset")
            case "max-length": count = try Sizes.parse(option.value, what: "max length")
            case "output": output = try OutputFormat(option: option.value)
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let image = try await session.open(source)
        let length = image.length
        let end = count.map { min(length, start.addingReportingOverflow($0).overflow ? .max : start + $0) } ?? length
        if output == .human { print(MapLine.heading) }
        var current: LayerStatus?
        var offset = start
        var isFirst = true
        while offset < end {
            let next: LayerStatus
            do {
                next = try await LayerStatus.ask(image.node, offset..<end)
            } catch {
                throw ToolFailure("Could not read file metadata: \(error)")
            }
            offset += next.length
            if let merged = current?.merged(with: next) {
                current = merged
                continue
            }
            if let current { try printLine(current, &isFirst) }
            current = next
        }
        switch output {
        case .human: if let current { try printLine(current, &isFirst) }
        case .json:
            try printLine(current ?? LayerStatus(start: start), &isFirst)
            print("]")
        }
        return 0
    }

    private func printLine(_ status: LayerStatus, _ isFirst: inout Bool) throws(ToolFailure) {
        switch output {
        case .json:
            print((isFirst ? "[" : ",\n") + MapLine.json(status), terminator: "")
            isFirst = false
        case .human:
            guard status.isData, !status.isZero else { return }
            guard let line = MapLine.human(status) else {
                throw ToolFailure("File contains external, encrypted or compressed clusters.")
            }
            print(line)
        }
    }
}

/// The lines of `map`.
@GraphActor
private enum MapLine {
    static let heading = columns("Offset", "Length", "Mapped to") + "File"

    /// A run that lies in a file, for people; nil where it lies at no offset.
    static func human(_ status: LayerStatus) -> String? {
        guard let offset = status.hostOffset, let file = status.file else { return nil }
        return columns(hexadecimal(status.start), hexadecimal(status.length), hexadecimal(offset))
            + NodeDescription(file).filename
    }

    /// A run, for programs.
    static func json(_ status: LayerStatus) -> String {
        """
        { "start": \(status.start), "length": \(status.length), "depth": \(status.depth), \
        "present": \(status.isAllocated), "zero": \(status.isZero), "data": \(status.isData), \
        "compressed": \(status.isCompressed)\(status.hostOffset.map { ", \"offset\": \($0)" } ?? "")}
        """
    }

    private static func columns(_ words: String...) -> String {
        words.map { $0 + String(repeating: " ", count: max(0, 16 - $0.utf8.count)) }.joined()
    }

    private static func hexadecimal(_ value: Int64) -> String { value == 0 ? "0" : "0x" + String(value, radix: 16) }
}
