import CLinuxShims

/// The command line of the program.
struct IOProgramOptions {
    /// What becomes of a command line.
    enum Outcome {
        /// It is to be carried out.
        case run(IOProgramOptions)
        /// Help is asked for.
        case help
        /// The version is asked for.
        case version
        /// It is wrong: a message for after the program's name, if it has not been printed yet.
        case failure(String)
        /// It is wrong: how the program is called is printed.
        case usage
    }

    /// The commands of `-c`.
    var commands: [String] = []
    /// The image.
    var image = IOOpenRequest()
    /// Whether the operand holds options.
    var isOptionString = false
    /// Whether memory is to be misaligned. Buffers of requests are aligned as need be, so nothing follows from it.
    var isMisaligned = false
    /// The definitions of `--object`.
    var objects: [String] = []

    private enum Option: Int, CaseIterable {
        case help, version, cmd, format, readOnly, snapshot, nocache, copyOnRead, misalign, nativeAIO, aio, discard,
            cache
        case trace, forceShare, imageOptions, object

        var name: StaticString {
            switch self {
            case .help: "help"
            case .version: "version"
            case .cmd: "cmd"
            case .format: "format"
            case .readOnly: "read-only"
            case .snapshot: "snapshot"
            case .nocache: "nocache"
            case .copyOnRead: "copy-on-read"
            case .misalign: "misalign"
            case .nativeAIO: "native-aio"
            case .aio: "aio"
            case .discard: "discard"
            case .cache: "cache"
            case .trace: "trace"
            case .forceShare: "force-share"
            case .imageOptions: "image-opts"
            case .object: "object"
            }
        }

        var takesValue: Bool {
            switch self {
            case .cmd, .format, .aio, .discard, .cache, .trace, .object: true
            default: false
            }
        }

        /// The letters, in the order of the cases; a blank for none.
        static let letters = "hVcfrsnCmkidtTU  "
    }

    /// Takes the process's command line apart with getopt_long(3), whose messages scripts know.
    static func scan() -> Outcome {
        let (argc, argv) = (CommandLine.argc, CommandLine.unsafeArgv)
        let all = Option.allCases
        let names: [UnsafePointer<CChar>?] = all.map {
            UnsafeRawPointer($0.name.utf8Start).assumingMemoryBound(to: CChar.self)
        }
        let takeValues = all.map(\.takesValue)
        var options = IOProgramOptions()
        var operands: [String] = []
        do throws(IOOptionError) {
            while true {
                let found = cairn_next_option(argc, argv, names, Option.letters, takeValues, Int32(all.count))
                let value = cairn_option_value().map { String(cString: $0) } ?? ""
                if found == -1 { break }
                if found == -2 {
                    operands.append(value)
                    continue
                }
                guard let option = Option(rawValue: Int(found)) else { return .usage }
                if option == .help { return .help }
                if option == .version { return .version }
                try options.take(option, value)
            }
        } catch {
            return .failure(error.message)
        }
        // What follows two dashes.
        operands += (Int(cairn_option_index())..<Int(argc)).compactMap { argv[$0].map { String(cString: $0) } }
        guard operands.count <= 1 else { return .usage }
        guard !options.isOptionString || options.image.format == nil else {
            return .failure("--image-opts and -f are mutually exclusive")
        }
        options.image.path = operands.first
        return .run(options)
    }

    private mutating func take(_ option: Option, _ value: String) throws(IOOptionError) {
        switch option {
        case .help, .version, .trace: break
        case .cmd: commands.append(value)
        case .format: image.format = value
        case .readOnly: image.isReadOnly = true
        case .snapshot: image.writesToOverlay = true
        case .nocache: image.cacheMode = IOReopenRequest.CacheMode.none
        case .copyOnRead: image.copiesOnRead = true
        case .misalign: isMisaligned = true
        case .nativeAIO: image.asynchronousIO = .native
        case .aio: try image.takeAsynchronousIO(value)
        case .discard: try image.takeDiscard(value)
        case .cache: try image.takeCacheMode(value)
        case .forceShare: image.sharesImage = true
        case .imageOptions: isOptionString = true
        case .object: objects.append(value)
        }
    }
}
