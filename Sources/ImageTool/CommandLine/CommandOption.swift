/// An option that a command takes. Names and letters are those of qemu-img.
struct CommandOption: Hashable, Sendable {
    /// The name after two dashes; nil where there is only a letter.
    let name: String?
    /// The letter after one dash.
    let letter: Character?
    /// Whether a value follows.
    let takesValue: Bool
    /// What the command knows the option by: the name, unless the option is another spelling of one.
    let key: String

    /// An option without a value.
    static func flag(_ name: String?, _ letter: Character? = nil, key: String? = nil) -> CommandOption {
        CommandOption(name: name, letter: letter, takesValue: false, key: key ?? name ?? letter.map(String.init) ?? "")
    }

    /// An option with a value.
    static func value(_ name: String?, _ letter: Character? = nil, key: String? = nil) -> CommandOption {
        CommandOption(name: name, letter: letter, takesValue: true, key: key ?? name ?? letter.map(String.init) ?? "")
    }

    /// `-h, --help`, which every command has.
    static let help = flag("help", "h")
}

/// An option as it stands on the command line.
struct GivenOption: Hashable, Sendable {
    /// The option's key.
    let key: String
    /// The value, empty where the option has none.
    let value: String
}
