import BlockDrivers
import BlockGraph
import IOLoop
import JSON

/// `check`: whether an image's own structures are in order.
@GraphActor
struct CheckCommand: ImageCommand {
    nonisolated static let name = "check"
    nonisolated static let summary = "checks, and repairs, the structures of an image"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-T MODE] [-r leaks|all]
               [-U] [--output human|json] [-q] [--object OBJECT] FILE
        Checks, and with -r repairs, the structures of an image.

          -f, --format FORMAT   the image's format; by default its start is looked at
              --image-opts      FILE is a list of options (key=value,...), not a name
          -T, --cache MODE      writeback (default), writethrough, none, directsync or unsafe
          -r, --repair KIND     leaks: give space back that nobody uses; all: also correct what is wrong
          -U, --force-share     the image may be in use
              --output FORMAT   human (default) or json
          -q, --quiet           print nothing but errors
              --object OBJECT   make an object that options refer to

        Exit status: 0 all is well, or is now; 1 the image could not be checked; 2 it is corrupt; 3 it has leaks;
        63 its format cannot be checked.
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .value("cache", "T"), .value("repair", "r"),
        .flag("force-share", "U"), OutputFormat.option, .flag("quiet", "q"), ObjectList.option,
    ]

    private var source = ImageSource()
    private var output = OutputFormat.human
    private var repair: String?
    private var isQuiet = false

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var cache: String?
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "cache": cache = option.value
            case "repair":
                guard option.value == "leaks" || option.value == "all" else {
                    throw .usage("--repair (-r) expects 'leaks' or 'all', not '\(option.value)'")
                }
                repair = option.value
            case "output": output = try OutputFormat(option: option.value)
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
        if let cache { source.cache = try CacheMode(cache, what: "source cache option") }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let image = try await session.open(source, repair == nil ? .reading : .writing)
        _ = image
        throw ToolFailure("This image format does not support checks", status: 63)
    }
}
