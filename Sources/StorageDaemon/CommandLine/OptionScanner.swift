import CLinuxShims

/// An option of the daemon's command line. The names are those of qemu-storage-daemon.
enum DaemonOption: Int, CaseIterable {
    case help, version, trace, blockdev, chardev, daemonize, export, monitor, nbdServer, object, pidfile

    /// The name after two dashes.
    var name: StaticString {
        switch self {
        case .help: "help"
        case .version: "version"
        case .trace: "trace"
        case .blockdev: "blockdev"
        case .chardev: "chardev"
        case .daemonize: "daemonize"
        case .export: "export"
        case .monitor: "monitor"
        case .nbdServer: "nbd-server"
        case .object: "object"
        case .pidfile: "pidfile"
        }
    }

    /// The name after one dash.
    var shortName: Character? {
        switch self {
        case .help: "h"
        case .version: "V"
        case .trace: "T"
        default: nil
        }
    }

    /// Whether a value follows.
    var takesValue: Bool {
        switch self {
        case .help, .version, .daemonize: false
        default: true
        }
    }
}

/// One option as it stands on the command line.
struct GivenOption {
    let option: DaemonOption
    /// The value, empty where the option has none.
    let value: String
    /// Where the option begins among the words of the command line, and how many there are of it.
    let firstWord: Int
    let wordCount: Int

    /// The words as they were typed, for messages.
    var words: String {
        CommandLine.arguments.dropFirst(firstWord).prefix(wordCount).joined(separator: " ")
    }
}

/// What becomes of a command line.
enum ScannedCommandLine {
    /// The options, in their order.
    case options([GivenOption])
    /// Help is asked for.
    case help
    /// The version is asked for.
    case version
    /// The command line is wrong, and that has been said on standard error.
    case failure
}

/// Finds the options of the process's command line with getopt_long(3), whose messages scripts know.
func scanCommandLine() -> ScannedCommandLine {
    let (argc, argv) = (CommandLine.argc, CommandLine.unsafeArgv)
    let all = DaemonOption.allCases
    let names: [UnsafePointer<CChar>?] = all.map {
        UnsafeRawPointer($0.name.utf8Start).assumingMemoryBound(to: CChar.self)
    }
    let shortNames = String(all.map { $0.shortName ?? " " })
    let takeValues = all.map(\.takesValue)
    var given: [GivenOption] = []
    while true {
        let first = Int(cairn_option_index())
        let found = cairn_next_option(argc, argv, names, shortNames, takeValues, Int32(all.count))
        let value = cairn_option_value().map { String(cString: $0) } ?? ""
        switch found {
        case -1: return .options(given)
        case -2:
            printError("\(value): Unexpected argument")
            return .failure
        case 0...:
            guard let option = DaemonOption(rawValue: Int(found)) else { return .failure }
            if option == .help { return .help }
            if option == .version { return .version }
            given.append(
                GivenOption(
                    option: option, value: value, firstWord: first, wordCount: Int(cairn_option_index()) - first))
        default: return .failure
        }
    }
}

/// The program's name in messages: the last part of the path that it was called by.
var programName: String {
    guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return "cairn-storage-daemon" }
    return String(name)
}

/// Prints a message on standard error, after the program's name.
func printError(_ message: String) { cairn_print_error("\(programName): \(message)") }
