import CLinuxShims
import Glibc

/// An error number of the operating system, as `errno(3)` numbers them.
public struct Errno: Error, Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    /// The positive error number.
    public let rawValue: Int32

    /// Makes an error of a positive error number.
    @inlinable
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// The error of the calling thread's last failed C library call.
    public static var current: Errno { Errno(rawValue: errno) }

    /// What the C library says of this number, exactly as `strerror(3)`: "Input/output error".
    public var description: String {
        if let text = cairn_error_text(rawValue) { return String(cString: text) }
        return "Unknown error \(rawValue)"
    }

    /// The name of this number: "EIO"; "E4095" for a number without a name.
    public var name: String {
        if let text = cairn_error_name(rawValue) { return String(cString: text) }
        return "E\(rawValue)"
    }

    /// Throws the error that a kernel interface returned as a negative number, and returns any other value.
    static func check(_ result: Int32) throws(Errno) -> Int {
        if result < 0 { throw Errno(rawValue: -result) }
        return Int(result)
    }

    /// Throws the thread's `errno` when a C library call that moves bytes returned -1.
    static func checkTransfer(_ result: Int) throws(Errno) -> Int {
        if result == -1 { throw .current }
        return result
    }

    /// Throws the thread's `errno` when a C library call returned -1.
    static func checkCall(_ result: Int32) throws(Errno) -> Int32 {
        if result == -1 { throw .current }
        return result
    }
}
