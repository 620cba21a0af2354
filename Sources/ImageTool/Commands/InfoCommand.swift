import BlockGraph
import BlockNodes
import IOLoop
import JSON

/// `info`: what is known about an image.
@GraphActor
struct InfoCommand: ImageCommand {
    nonisolated static let name = "info"
    nonisolated static let summary = "tells what is known about an image"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [--backing-chain] [-U]
               [--output human|json] [--object OBJECT] FILE
        Tells what is known about an image.

          -f, --format FORMAT   the image's format; by default its start is looked at
              --image-opts      FILE is a list of options (key=value,...), not a name
              --backing-chain   tell about all images of the backing chain
          -t, --cache MODE      writeback (default), writethrough, none, directsync or unsafe
          -U, --force-share     the image may be in use
              --limits          tell the limits of requests
              --output FORMAT   human (default) or json
              --object OBJECT   make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .flag("backing-chain"), .value("cache", "t"),
        .flag("force-share", "U"), .flag("limits"), OutputFormat.option, ObjectList.option,
    ]

    private var source = ImageSource()
    private var wholeChain = false
    private var showsLimits = false
    private var output = OutputFormat.human

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var cache: String?
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "backing-chain": wholeChain = true
            case "cache": cache = option.value
            case "limits": showsLimits = true
            case "output": output = try OutputFormat(option: option.value)
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
        if let cache { source.cache = try CacheMode(cache) }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        var images: [ImageReport] = []
        var next: ImageSource? = source
        while let current = next {
            let image = try await session.open(current, .reading, .header)
            let report = await ImageReport(image.node, showsLimits: showsLimits)
            images.append(report)
            await session.close(image)
            next = wholeChain ? report.backing(of: current) : nil
        }
        switch output {
        case .human: print(images.map(\.text).joined(separator: "\n"), terminator: "")
        case .json:
            let values = images.map { JSON.object($0.members) }
            print(wholeChain ? JSON.array(values).outputText : values[0].outputText)
        }
        return 0
    }
}
