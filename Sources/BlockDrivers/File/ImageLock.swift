import BlockGraph
import IOLoop

/// The locks on an image file that tell other processes, QEMU's among them, what this one does with it.
///
/// Each permission n in use holds a shared lock on the byte 100 + n, each one that others may not have a shared lock on
/// the byte 200 + n. Whoever wants to use permission n looks whether somebody holds 200 + n; whoever does not share it looks
/// whether somebody holds 100 + n. The locks belong to the open file description (fcntl(2), `F_OFD_SETLK`), so that closing
/// another descriptor of the file does not drop them. Source: observed on QEMU's programs with /proc/locks.
struct ImageLock {
    /// The descriptor whose description holds the locks. Open for reading at least.
    let file: FileDescriptor
    /// What is locked now.
    private(set) var held = LockedBits()

    /// Which bytes are locked.
    struct LockedBits: Equatable {
        var used: UInt8 = 0
        var unshared: UInt8 = 0

        init() {}

        init(_ permissions: PermissionPair) {
            used = permissions.used.rawValue
            unshared = BlockPermissions.all.subtracting(permissions.shared).rawValue
        }

        func union(_ other: LockedBits) -> LockedBits {
            var result = self
            result.used |= other.used
            result.unshared |= other.unshared
            return result
        }
    }

    private static let usedBase: Int64 = 100
    private static let unsharedBase: Int64 = 200

    init(file: FileDescriptor) { self.file = file }

    /// Takes the locks of the permissions on top of those held, and looks for conflicts with other processes.
    /// On an error the locks held before remain.
    mutating func acquire(_ permissions: PermissionPair, filename: String) throws(BlockError) {
        let before = held
        let wanted = LockedBits(permissions)
        do {
            try lock(wanted)
            try check(wanted, filename)
        } catch {
            release(downTo: before)
            throw error
        }
    }

    /// Drops the locks that the permissions do not need.
    mutating func reduce(to permissions: PermissionPair) {
        release(downTo: LockedBits(permissions))
    }

    private mutating func lock(_ wanted: LockedBits) throws(BlockError) {
        for bit in 0..<UInt8(4) {
            let mask: UInt8 = 1 << bit
            if wanted.used & mask != 0, held.used & mask == 0 {
                try lockByte(Self.usedBase + Int64(bit))
                held.used |= mask
            }
            if wanted.unshared & mask != 0, held.unshared & mask == 0 {
                try lockByte(Self.unsharedBase + Int64(bit))
                held.unshared |= mask
            }
        }
    }

    private func lockByte(_ byte: Int64) throws(BlockError) {
        do {
            try file.lockRange(.shared, offset: Int(byte), length: 1)
        } catch {
            throw BlockError("Failed to lock byte \(byte)", causedBy: error)
        }
    }

    private func unlockByte(_ byte: Int64) {
        try? file.unlockRange(offset: Int(byte), length: 1)  // A lock too many keeps others out, no more than that.
    }

    private func check(_ wanted: LockedBits, _ filename: String) throws(BlockError) {
        let hint = "Is another process using the image [\(filename)]?"
        for bit in 0..<UInt8(4) {
            let mask: UInt8 = 1 << bit
            let name = BlockPermissions(rawValue: mask).description
            if wanted.used & mask != 0, isLocked(Self.unsharedBase + Int64(bit)) {
                throw BlockError("Failed to get \"\(name)\" lock", hint: hint)
            }
            if wanted.unshared & mask != 0, isLocked(Self.usedBase + Int64(bit)) {
                throw BlockError("Failed to get shared \"\(name)\" lock", hint: hint)
            }
        }
    }

    /// Whether another open file description holds the byte. Where the system cannot tell, nobody does.
    private func isLocked(_ byte: Int64) -> Bool {
        (try? file.canLockRange(.exclusive, offset: Int(byte), length: 1)) == false
    }

    private mutating func release(downTo kept: LockedBits) {
        for bit in 0..<UInt8(4) {
            let mask: UInt8 = 1 << bit
            if held.used & mask != 0, kept.used & mask == 0 {
                unlockByte(Self.usedBase + Int64(bit))
                held.used &= ~mask
            }
            if held.unshared & mask != 0, kept.unshared & mask == 0 {
                unlockByte(Self.unsharedBase + Int64(bit))
                held.unshared &= ~mask
            }
        }
    }

    /// Whether the file's system can lock at all.
    static func isSupported(on file: FileDescriptor) -> Bool {
        (try? file.canLockRange(.exclusive, offset: 0, length: 1)) != nil
    }
}
