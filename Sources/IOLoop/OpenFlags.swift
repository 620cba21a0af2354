import Glibc

/// How `FileDescriptor.open` opens a file, as `open(2)`; `O_CLOEXEC` is always set.
public struct OpenFlags: OptionSet, Sendable {
    /// The bits of `open(2)`.
    public let rawValue: Int32

    /// Makes flags of the bits of `open(2)`.
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// To read (`O_RDONLY`, no bit set).
    public static let readOnly = OpenFlags([])
    /// To write (`O_WRONLY`).
    public static let writeOnly = OpenFlags(rawValue: O_WRONLY)
    /// To read and write (`O_RDWR`).
    public static let readWrite = OpenFlags(rawValue: O_RDWR)
    /// Make the file when there is none (`O_CREAT`).
    public static let create = OpenFlags(rawValue: O_CREAT)
    /// With `create`: fail with `EEXIST` when there is one (`O_EXCL`).
    public static let exclusive = OpenFlags(rawValue: O_EXCL)
    /// Empty an existing file (`O_TRUNC`).
    public static let truncate = OpenFlags(rawValue: O_TRUNC)
    /// Write at the end (`O_APPEND`).
    public static let append = OpenFlags(rawValue: O_APPEND)
    /// Bypass the page cache (`O_DIRECT`).
    public static let direct = OpenFlags(rawValue: 0o40000)
    /// Each write is durable when it returns, with the metadata to find it (`O_DSYNC`).
    public static let dataSync = OpenFlags(rawValue: O_DSYNC)
    /// Only a directory (`O_DIRECTORY`).
    public static let directory = OpenFlags(rawValue: O_DIRECTORY)
    /// Not through a symbolic link in the last component (`O_NOFOLLOW`).
    public static let noFollow = OpenFlags(rawValue: O_NOFOLLOW)
    /// Opening does not wait for a peer or a medium (`O_NONBLOCK`).
    public static let nonBlocking = OpenFlags(rawValue: O_NONBLOCK)
}

/// What `FileDescriptor.fallocate` does with a range, as `fallocate(2)`. Empty: allocate, growing the file.
public struct FallocateMode: OptionSet, Sendable {
    /// The bits of `fallocate(2)`.
    public let rawValue: Int32

    /// Makes a mode of the bits of `fallocate(2)`.
    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// Allocate the range; the file grows when it ends behind its end.
    public static let allocate = FallocateMode([])
    /// The file's size stays.
    public static let keepSize = FallocateMode(rawValue: 1)
    /// Deallocate the range, which then reads as zeroes; goes with `keepSize`.
    public static let punchHole: FallocateMode = [FallocateMode(rawValue: 2), .keepSize]
    /// The range reads as zeroes and stays or becomes allocated.
    public static let zeroRange = FallocateMode(rawValue: 16)
}
