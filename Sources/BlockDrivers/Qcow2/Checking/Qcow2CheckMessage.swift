/// A line that a consistency check says while it works, in the words of `qemu-img check`.
public struct Qcow2CheckMessage: Sendable, Hashable {
    /// The text, without a line end at its end. Hints follow on further lines.
    public var text: String
    /// Whether the line is an error of the program, before which `qemu-img` writes its name; else it is a finding.
    public var isProgramError: Bool

    /// Makes a message.
    public init(_ text: String, isProgramError: Bool = false) {
        self.text = text
        self.isProgramError = isProgramError
    }
}
