/// How names of the schema are spelled in Swift.
enum Naming {
    /// A member, enumeration case, method or parameter: `node-name` becomes `nodeName`.
    static func member(_ name: String) -> String {
        let words = words(name)
        guard let first = words.first else { return "_" }
        let joined = lower(first) + words.dropFirst().map(capitalized).joined()
        if joined.first?.isNumber == true { return "_" + joined }
        return keywords.contains(joined) ? "`\(joined)`" : joined
    }

    /// A type made from the name of a command, event or member: `block_resize` becomes `BlockResize`.
    static func type(_ name: String) -> String {
        words(name).map { capitalized(lower($0)) }.joined()
    }

    /// The enumeration inside a union that holds its variants. `Type` would not be a legal name.
    static func payload(_ discriminator: String) -> String {
        let name = type(discriminator)
        return name == "Type" ? "Kind" : name
    }

    private static func words(_ name: String) -> [String] {
        name.split { $0 == "-" || $0 == "_" || $0 == "." }.map(String.init)
    }

    /// The word in lower case where all its letters are capitals, else with a small first letter.
    private static func lower(_ word: String) -> String {
        if word.uppercased() == word { return word.lowercased() }
        return word.prefix(1).lowercased() + word.dropFirst()
    }

    private static func capitalized(_ word: String) -> String {
        (word.uppercased() == word ? word.lowercased() : word).prefix(1).uppercased()
            + (word.uppercased() == word ? word.lowercased() : word).dropFirst()
    }

    private static let keywords: Set<String> = [
        "as", "associatedtype", "break", "case", "catch", "class", "continue", "default", "defer", "deinit", "do",
        "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func", "guard", "if", "import",
        "in", "init", "inout", "internal", "is", "let", "nil", "operator", "private", "protocol", "public", "repeat",
        "rethrows", "return", "self", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true",
        "try", "typealias", "var", "where", "while",
    ]
}

extension TypeReference {
    /// The type in Swift.
    var swiftName: String {
        switch self {
        case .builtin(let builtin): builtin.swiftName
        case .named(let name): name
        case .array(let element): "[\(element.swiftName)]"
        case .map(let value): "[String: \(value.swiftName)]"
        }
    }
}

extension Member {
    /// The name in Swift.
    var swiftName: String { Naming.member(name) }

    /// The type in Swift, optional where the member is.
    var swiftType: String { type.swiftName + (isOptional ? "?" : "") }

    /// The parameter of an initialiser or call that sets the member.
    var parameter: String { "\(swiftName): \(swiftType)" + (isOptional ? " = nil" : "") }
}
