import CLinuxShims
import Glibc

/// How a byte range of a file is locked.
public enum RangeLock: Sendable {
    /// Others may lock it `shared` too.
    case shared
    /// No other may lock it.
    case exclusive
}

// Locks of byte ranges that belong to the open file, not to the process (`F_OFD_SETLK` of fcntl(2)). They exclude
// other open files only, go with the last descriptor, and are advisory. These calls do not wait.
extension FileDescriptor {
    /// Locks `length` bytes from `offset`, replacing what this open file has locked there.
    ///
    /// Throws `EAGAIN` when another open file's lock is in the way, `EBADF` when the file is not open for reading (for
    /// `shared`) or writing (for `exclusive`), `EINVAL` or `ENOLCK` when the file system has no locks.
    public func lockRange(_ lock: RangeLock, offset: Int, length: Int) throws(Errno) {
        _ = try Errno.checkCall(cairn_ofd_lock(rawValue, kind(lock), Int64(offset), Int64(length)))
    }

    /// Unlocks `length` bytes from `offset`. Throws as `lockRange`.
    public func unlockRange(offset: Int, length: Int) throws(Errno) {
        _ = try Errno.checkCall(cairn_ofd_lock(rawValue, Int32(F_UNLCK), Int64(offset), Int64(length)))
    }

    /// Whether `lockRange` would succeed as far as others' locks go. Throws as `lockRange`, without `EAGAIN`.
    public func canLockRange(_ lock: RangeLock, offset: Int, length: Int) throws(Errno) -> Bool {
        let result = cairn_ofd_test(rawValue, kind(lock), Int64(offset), Int64(length))
        return try Errno.checkCall(result) == 1
    }

    private func kind(_ lock: RangeLock) -> Int32 {
        switch lock {
        case .shared: Int32(F_RDLCK)
        case .exclusive: Int32(F_WRLCK)
        }
    }
}
