/// The limits of one message, which bound the memory that a client can make the server use.
///
/// They are QEMU's: see field-notes.md, section 5.
public enum Limits {
    /// The bytes of all tokens of a message together.
    public static let tokenBytes = 64 << 20
    /// The number of tokens of a message.
    public static let tokens = 2 << 20
    /// How deep arrays and objects nest.
    public static let depth = 1024
}
