/// Takes options of one letter out of the words of a command, wherever they stand, as `getopt(3)` does.
struct OptionScanner {
    /// Why a word is no option.
    struct UsageError: Error {
        /// The line that tells, without a newline.
        let description: String
    }

    /// An option that was given.
    struct Option {
        /// Its letter.
        let letter: Character
        /// Its argument, empty for an option that takes none.
        let argument: String
    }

    /// The words that are not options; complete once `next` has returned nil.
    private(set) var operands: [String] = []
    /// The word that comes first once options stand before operands.
    private(set) var firstWord: String?

    private let name: String
    private let specification: [Character]
    private var words: ArraySlice<String>
    private var cluster: Substring = ""

    /// - Parameters:
    ///   - name: the command as it was typed.
    ///   - specification: the letters of the options, those with an argument followed by a colon.
    init(name: String, words: some Sequence<String>, specification: String) {
        self.name = name
        self.words = ArraySlice(words)
        self.specification = Array(specification)
    }

    /// The next option, nil at the end. Errors: an unknown letter, a missing argument.
    mutating func next() throws(UsageError) -> Option? {
        while cluster.isEmpty {
            guard let word = words.popFirst() else {
                firstWord = firstWord ?? operands.first
                return nil
            }
            if word == "--" {
                firstWord = firstWord ?? word
                operands += words
                words = []
            } else if word.hasPrefix("-"), word != "-" {
                firstWord = firstWord ?? word
                cluster = word.dropFirst()
            } else {
                operands.append(word)
            }
        }
        let letter = cluster.removeFirst()
        guard letter != ":", let index = specification.firstIndex(of: letter) else {
            throw UsageError(description: "\(name): invalid option -- '\(letter)'")
        }
        guard index + 1 < specification.count, specification[index + 1] == ":" else {
            return Option(letter: letter, argument: "")
        }
        if !cluster.isEmpty {
            defer { cluster = "" }
            return Option(letter: letter, argument: String(cluster))
        }
        guard let argument = words.popFirst() else {
            throw UsageError(description: "\(name): option requires an argument -- '\(letter)'")
        }
        return Option(letter: letter, argument: argument)
    }
}
