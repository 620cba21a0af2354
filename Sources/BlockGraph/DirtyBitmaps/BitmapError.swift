/// A refused operation on a dirty bitmap.
public struct BitmapError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The text for the QMP error reply (class `GenericError`).
    public let description: String

    /// What may help a person at a terminal.
    public let hint: String?

    /// An error with the given text.
    public init(_ description: String, hint: String? = nil) {
        self.description = description
        self.hint = hint
    }

    /// No bitmap of that name is on the node.
    public static func notFound(_ name: String) -> BitmapError { BitmapError("Dirty bitmap '\(name)' not found") }

    /// The bitmap is used by a job or an export.
    public static func busy(_ name: String) -> BitmapError {
        BitmapError("Bitmap '\(name)' is currently in use by another operation and cannot be used")
    }

    /// The image that the bitmap belongs to is open read-only.
    public static func readOnly(_ name: String) -> BitmapError {
        BitmapError("Bitmap '\(name)' is readonly and cannot be modified")
    }

    /// The bitmap was not saved properly when its image was last used.
    public static func inconsistent(_ name: String) -> BitmapError {
        BitmapError(
            "Bitmap '\(name)' is inconsistent and cannot be used",
            hint: "Try block-dirty-bitmap-remove to delete this bitmap from disk")
    }

    /// Source and destination of a merge are of disks of different sizes.
    public static func differentSizes(destination: Int64, source: Int64) -> BitmapError {
        BitmapError(
            "Bitmaps are of different sizes (destination size is \(destination), source size is \(source)) "
                + "and can't be merged")
    }
}
