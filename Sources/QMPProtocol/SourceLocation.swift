/// A place in the stream of one connection, as QEMU counts it.
///
/// Lines and columns count from 1, columns in bytes. A token that begins with the very byte that ended the number, the
/// keyword or the garbage before it is placed one column too far; scripts compare messages, so this is kept.
struct SourceLocation: Sendable, Hashable {
    /// The line, from 1.
    var line = 1
    /// The column in bytes, from 1; 0 before the first byte of a line.
    var column = 0

    /// Moves over a byte.
    mutating func advance(over byte: UInt8) {
        if byte == UInt8(ascii: "\n") {
            line += 1
            column = 0
        } else {
            column += 1
        }
    }
}
