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
    private var repair = Qcow2Repair.none
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
                repair = option.value == "all" ? .all : .leaks
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
        let checked = try await CheckedImage.open(source, repair: repair, in: session)
        var result = try await checked.check(repair: repair)
        let (corruptionsFixed, leaksFixed) = (result.corruptionsFixed, result.leaksFixed)
        if corruptionsFixed > 0 || leaksFixed > 0 {
            if output == .human, !isQuiet {
                print(
                    """
                    The following inconsistencies were found and repaired:

                        \(leaksFixed) leaked clusters
                        \(corruptionsFixed) corruptions

                    Double checking the fixed image now...
                    """)
            }
            result = try await checked.check(repair: .none)
            (result.corruptionsFixed, result.leaksFixed) = (corruptionsFixed, leaksFixed)
        }
        if !isQuiet {
            let report = CheckReport(filename: source.name, format: checked.format, result: result)
            switch output {
            case .human: print(report.text, terminator: "")
            case .json: print(JSON.object(report.members).outputText)
            }
        }
        if result.checkErrors > 0 { return 1 }
        if result.corruptions > 0 { return 2 }
        return result.leaks > 0 ? 3 : 0
    }
}
