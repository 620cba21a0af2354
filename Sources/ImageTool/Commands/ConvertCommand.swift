import BlockGraph
import BlockNodes
import IOLoop

/// `convert`: copies images into a new one, or one that is there, of whatever format.
@GraphActor
struct ConvertCommand: ImageCommand {
    nonisolated static let name = "convert"
    nonisolated static let summary = "copies images into another, of the same or another format"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-T CACHE] [-l SNAPSHOT] [-O FORMAT | --target-image-opts]
               [-o OPTIONS] [-t CACHE] [-b BACKING_FILE [-F BACKING_FORMAT]] [-S SIZE] [-n]
               [--target-is-zero] [-c] [--bitmaps [--skip-broken-bitmaps]] [--salvage]
               [-U] [-r RATE] [-m COUNT] [-W] [-C] [-p] [-q] [--object OBJECT]
               SOURCE... TARGET
        Copies images, one after the other, into a new one.

          -f, --source-format FORMAT       the sources' format; by default their start is looked at
              --image-opts                 sources are lists of options (key=value,...), not names
          -T, --source-cache CACHE         how the sources are cached (writeback)
          -l, --snapshot SNAPSHOT          copy an internal snapshot: its name or number, or
                                           snapshot.id=ID,snapshot.name=NAME
          -O, --target-format FORMAT       the target's format (raw)
              --target-image-opts          TARGET is a list of options; needs -n
          -o, --target-format-options OPT  options of the new image (key=value,...); "help" lists them
          -t, --target-cache CACHE         how the target is cached (unsafe)
          -b, --backing FILE               the target is an overlay of FILE (also -B)
          -F, --backing-format FORMAT      the format of the backing file
          -S, --sparse-size SIZE           zeroes in a row that are left out of data (4k); 0: all is written
          -n, --no-create                  the target is there already
              --target-is-zero             the target reads as zeroes; needs -n
          -c, --compress                   write compressed data
              --bitmaps                    copy the persistent bitmaps
              --skip-broken-bitmaps        leave inconsistent bitmaps out
              --salvage                    what cannot be read becomes zeroes
          -U, --force-share                the sources may be in use
          -r, --rate-limit RATE            bytes per second
          -m, --parallel COUNT             requests at a time (8)
          -W, --oob-writes                 write in any order
          -C, --copy-range-offloading      accepted; data is copied by this program
          -p, --progress                   show the progress
          -q, --quiet                      print nothing but errors
              --object OBJECT              make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("source-format", "f", key: "format"), .flag("image-opts"), .flag("force-share", "U"),
        .value("source-cache", "T"), .value("snapshot", "l"), .flag("bitmaps"), .flag("skip-broken-bitmaps"),
        .flag("salvage"), .value("target-format", "O"), .flag("target-image-opts"),
        .value("target-format-options", "o"), .value("target-cache", "t"), .value("backing", "b"),
        .value(nil, "B", key: "backing"), .value("backing-format", "F"), .value("sparse-size", "S"),
        .flag("no-create", "n"), .flag("target-is-zero"), .flag("compress", "c"), .value("rate-limit", "r"),
        .value("parallel", "m"), .flag("oob-writes", "W"), .flag("copy-range-offloading", "C"),
        .flag("progress", "p"), .flag("quiet", "q"), ObjectList.option,
    ]

    private(set) var source = ImageSource()
    private(set) var names: [String] = []
    private(set) var target = ""
    private(set) var targetFormat: String?
    private(set) var targetIsOptions = false
    private(set) var targetCache = CacheMode.unsafe
    private(set) var creationOptions: [String] = []
    private(set) var asksForHelp = false
    private(set) var backingFile: String?
    private(set) var backingFormat: String?
    private(set) var snapshot: String?
    private(set) var skipsCreation = false
    private(set) var targetIsZero = false
    private(set) var isCompressed = false
    private(set) var copiesBitmaps = false
    private(set) var skipsBrokenBitmaps = false
    private(set) var sparseSize: Int64?
    private(set) var offloads = false
    private(set) var isQuiet = false
    private(set) var showsProgress = false
    private(set) var copy = CopyConfiguration()

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var caches: (source: String?, target: String?) = (nil, nil)
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "source-cache": caches.source = option.value
            case "target-cache": caches.target = option.value
            case "object": try session.objects.add(option.value)
            default:
                takeFlag(option.key)
                try takeValue(option)
            }
        }
        names = scanner.operands
        if names.count > 1 { target = names.removeLast() }
        try checkCombination()
        if let cache = caches.target { targetCache = try CacheMode(cache) }
        if let cache = caches.source { source.cache = try CacheMode(cache, what: "source cache option") }
    }

    private mutating func takeFlag(_ key: String) {
        switch key {
        case "bitmaps": copiesBitmaps = true
        case "skip-broken-bitmaps": skipsBrokenBitmaps = true
        case "salvage": copy.salvages = true
        case "target-image-opts": targetIsOptions = true
        case "no-create": skipsCreation = true
        case "target-is-zero": targetIsZero = true
        case "compress": isCompressed = true
        case "oob-writes": copy.isUnordered = true
        case "copy-range-offloading": offloads = true
        case "progress": showsProgress = true
        case "quiet": isQuiet = true
        default: break
        }
    }

    private mutating func takeValue(_ option: GivenOption) throws(ToolFailure) {
        switch option.key {
        case "snapshot":
            snapshot = option.value
            _ = try SnapshotChoice(option.value)
        case "target-format": targetFormat = option.value
        case "target-format-options": creationOptions.append(option.value)
        case "backing": backingFile = option.value
        case "backing-format": backingFormat = option.value
        case "sparse-size": try takeSparseSize(option.value)
        case "parallel":
            copy.workers = Int(try Sizes.parse(option.value, what: "number of coroutines", in: 1...16))
        case "rate-limit":
            copy.bytesPerSecond = try Sizes.parse(option.value, what: "rate limit")
        default: break
        }
    }

    private mutating func takeSparseSize(_ text: String) throws(ToolFailure) {
        let size = try Sizes.parse(text, what: "buffer size for sparse output")
        guard size % 512 == 0, size <= 16 << 20 else {
            throw ToolFailure(
                """
                Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 16777216. \
                Select 0 to disable sparse detection (fully allocates output).
                """)
        }
        sparseSize = size
        copy.sparseSize = size
    }

    /// Failure: options do not go together.
    private func checkCombination() throws(ToolFailure) {
        try source.check()
        if targetIsOptions, targetFormat != nil {
            throw ToolFailure("--image-opts and --format are mutually exclusive")
        }
        if skipsBrokenBitmaps, !copiesBitmaps { throw ToolFailure("Use of --skip-broken-bitmaps requires --bitmaps") }
        if isCompressed, offloads { throw ToolFailure("Cannot enable copy offloading when -c is used") }
        if sparseSize != nil, offloads { throw ToolFailure("Cannot enable copy offloading when -S is used") }
        if copy.salvages, offloads { throw ToolFailure("Cannot use copy offloading in salvaging mode") }
        if skipsCreation, !creationOptions.isEmpty {
            throw ToolFailure("-o has no effect when skipping image creation")
        }
        if targetIsOptions, !skipsCreation { throw ToolFailure("--target-image-opts requires use of -n flag") }
        if targetIsZero, !skipsCreation { throw ToolFailure("--target-is-zero requires use of -n flag") }
        if target.isEmpty || names.isEmpty { throw ToolFailure("Must specify image file name") }
    }
}
