import CLinuxShims
import Glibc
import IOLoop

/// Finds the options of a command line, one at a time, with getopt_long(3), whose messages scripts know.
///
/// The C library has one place of its own in a command line: only one scanner may be in use at a time.
@GraphActor
final class OptionScanner {
    /// The words that are no options, so far.
    private(set) var operands: [String] = []

    private let options: [CommandOption]
    private let stopsAtOperand: Bool
    private let words: CStrings
    private let names: CStrings
    private let letters: String
    private let takeValues: [Bool]

    /// A scanner of the words that follow a command's name.
    ///
    /// - Parameters:
    ///   - title: what messages of the C library begin with.
    ///   - stopsAtOperand: whether the first word that is no option is the end; the operands are it and all after it.
    init(title: String, words: some Sequence<String>, options: [CommandOption], stopsAtOperand: Bool = false) {
        self.options = options
        self.stopsAtOperand = stopsAtOperand
        self.words = CStrings([title] + words)
        names = CStrings(options.map(\.name))
        letters = String(options.map { $0.letter ?? " " })
        takeValues = options.map(\.takesValue)
        cairn_restart_options()
    }

    /// The next option, nil at the end. Failure: an option is unknown, or lacks its value, or must not have one, which has
    /// been said on standard error; `.help` where a command is asked for help.
    func next() throws(ToolFailure) -> GivenOption? {
        while true {
            let found = step()
            let value = cairn_option_value().map { String(cString: $0) } ?? ""
            switch found {
            case -1:
                operands += words.strings(from: Int(cairn_option_index()))
                return nil
            case -2 where stopsAtOperand:
                operands = words.strings(from: Int(cairn_option_index()) - 1)
                return nil
            case -2: operands.append(value)
            case 0...:
                let option = options[Int(found)]
                if option == .help, !stopsAtOperand { throw .help }
                return GivenOption(key: option.key, value: option.takesValue ? value : "")
            default: throw .usage(nil)
            }
        }
    }

    private func step() -> Int32 {
        names.withPointers { names in
            words.withPointers { words in
                cairn_next_option(
                    Int32(self.words.count), words,
                    UnsafeRawPointer(names).assumingMemoryBound(
                        to: UnsafePointer<CChar>?.self), letters, takeValues, Int32(options.count))
            }
        }
    }
}

/// C strings that stay where they are.
private final class CStrings {
    private let pointers: UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>

    init(_ strings: [String?]) {
        pointers = .allocate(capacity: strings.count + 1)
        pointers.initialize(repeating: nil)
        for (index, string) in strings.enumerated() { pointers[index] = string.flatMap { strdup($0) } }
    }

    deinit {
        for pointer in pointers { free(pointer) }
        pointers.deallocate()
    }

    var count: Int { pointers.count - 1 }

    /// The strings from an index on.
    func strings(from index: Int) -> [String] {
        pointers.dropFirst(index).compactMap { $0.map { String(cString: $0) } }
    }

    func withPointers<Result>(_ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result) -> Result {
        guard let base = pointers.baseAddress else { preconditionFailure("there is always room for the end") }
        return body(base)
    }
}
