import BlockGraph
import IOLoop
import QMPSchema

/// A new image: its format and the options of `-o`, checked, and how to make it.
@GraphActor
struct ImageCreation {
    /// The format.
    let format: String
    /// The options.
    private(set) var options: CreationOptions

    /// A new image of a format with its default options.
    ///
    /// - Parameter lists: what each `-o` says.
    /// Failure: there is no such format, or its images cannot be made; an option is not known or malformed.
    init(format: String, options lists: [String] = []) throws(ToolFailure) {
        var list = OptionList()
        for text in lists { try list.add(text) }
        try self.init(format: format, list: list)
    }

    /// A new image of a format with the options of a list.
    init(format: String, list: OptionList) throws(ToolFailure) {
        self.format = format
        options = CreationOptions(try Self.knownOptions(of: format, inFile: true))
        try options.take(list)
    }

    /// The options that a format has, and, where `inFile`, those of the file that the image is in.
    static func knownOptions(of format: String, inFile: Bool) throws(ToolFailure) -> [CreateOption] {
        if let options = CreateOption.options(ofFormat: format, inFile: inFile) { return options }
        guard BlockdevDriver(rawValue: format) != nil else { throw ToolFailure("Unknown file format '\(format)'") }
        throw ToolFailure("Format driver '\(format)' does not support image creation")
    }

    /// What `-o help` prints.
    ///
    /// - Parameter hasFile: whether the image's name is known, and with it that the options of files apply.
    static func help(for format: String, hasFile: Bool) throws(ToolFailure) -> String {
        let lines = try knownOptions(of: format, inFile: hasFile).sorted { $0.name < $1.name }.map(\.helpLine)
        let heading = hasFile ? "Supported options:" : "Supported \(format) options:"
        var text = ([heading] + lines).joined(separator: "\n") + "\n"
        if !hasFile {
            text += """

                The protocol level may support further options.
                Specify the target filename to include those options.

                """
        }
        return text
    }

    /// The length of the disk in bytes; 0 where none is set.
    var size: Int64 {
        get { Int64(clamping: options.size("size") ?? 0) }
        set { try? options.set("size", String(newValue)) }
    }

    /// Whether the format has backing files.
    var supportsBacking: Bool { options.knows("backing_file") }

    /// The name of the backing file, as it goes into the image.
    var backingFile: String? {
        get { options["backing_file"] }
        set { if let newValue { try? options.set("backing_file", newValue) } }
    }

    /// The format of the backing file.
    var backingFormat: String? {
        get { options["backing_fmt"] }
        set { if let newValue { try? options.set("backing_fmt", newValue) } }
    }

    /// Sets the backing file and its format as far as they are given. Failure: images of the format have none.
    mutating func setBacking(file: String?, format backing: String?) throws(ToolFailure) {
        if let file {
            guard supportsBacking else {
                throw ToolFailure("Backing file not supported for file format '\(format)'")
            }
            backingFile = file
        }
        if let backing {
            guard supportsBacking else {
                throw ToolFailure("Backing file format not supported for file format '\(format)'")
            }
            backingFormat = backing
        }
    }

    /// The value of an option, nil where it has none.
    func value(of name: String) -> String? { options[name] }

    /// Sets an option. Failure: there is no such option, or the value is not of its kind.
    mutating func set(_ name: String, _ value: String) throws(ToolFailure) { try options.set(name, value) }
}
