import JSON

/// How the JSON to decode came about, which decides what its scalars look like.
public enum QAPIMode: Sendable, Hashable {
    /// From JSON text: every scalar has its JSON type.
    case strict
    /// From dotted keys on a command line: every scalar is a string.
    case keyval
}

/// A JSON value together with where it stands, so that errors can name it.
public struct QAPIValue: Sendable {
    /// The value.
    public let json: JSON
    /// How scalars are to be read.
    public let mode: QAPIMode
    let path: QAPIPath

    /// A value that is nobody's member.
    public init(_ json: JSON, mode: QAPIMode = .strict) {
        self.init(json, mode: mode, path: .root)
    }

    init(_ json: JSON, mode: QAPIMode, path: QAPIPath) {
        self.json = json
        self.mode = mode
        self.path = path
    }

    /// The full name of the value: `a.b`, `a[0].b`, or `a.0.b` on a command line.
    public var fullName: String { path.fullName(mode) }

    /// The name of the value within its object; an element of an array has none, which QMP prints as `null`.
    var localName: String { path.localName }

    /// The value has another JSON type than `expected`.
    func invalidType(_ expected: String) -> QMPError {
        QMPError("Invalid parameter type for '\(fullName)', expected: \(expected)")
    }

    /// The value has a JSON type that none of the branches of the alternate `name` takes.
    public func noBranch(of name: String) -> QMPError {
        QMPError("Invalid parameter type for '\(localName)', expected: \(name)")
    }

    /// The string is no value of the enumeration.
    func doesNotAccept(_ string: String) -> QMPError {
        QMPError("Parameter '\(localName)' does not accept value '\(string)'")
    }

    /// The integer is outside the range of the C type `type`.
    func outOfRange(_ type: String) -> QMPError {
        QMPError("Parameter '\(localName)' expects \(type)")
    }

    /// The text given on the command line is not `expected`.
    func badText(_ expected: String) -> QMPError {
        QMPError("Parameter '\(fullName)' expects \(expected)")
    }

    /// The text of a scalar given on the command line; throws where dotted keys made it an object or array.
    func text() throws(QMPError) -> String {
        guard case .string(let text) = json else {
            throw QMPError("Parameters '\(fullName).*' are unexpected")
        }
        return text
    }
}

/// The way from the arguments of a command to one value inside.
indirect enum QAPIPath: Sendable {
    case root
    case member(QAPIPath, String)
    case element(QAPIPath, Int)

    func fullName(_ mode: QAPIMode) -> String {
        switch self {
        case .root: "null"
        case .member(.root, let name): name
        case .member(let parent, let name): "\(parent.fullName(mode)).\(name)"
        case .element(let parent, let index):
            mode == .keyval ? "\(parent.fullName(mode)).\(index)" : "\(parent.fullName(mode))[\(index)]"
        }
    }

    var localName: String {
        if case .member(_, let name) = self { name } else { "null" }
    }
}
