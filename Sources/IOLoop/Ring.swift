import CLiburing
import Glibc

/// One `io_uring`: the only place that knows how entries are handed in and completions taken off.
///
/// Only the thread that called `enable()` may use it afterwards.
struct Ring {
    private let raw: UnsafeMutablePointer<io_uring>
    private let idleFlags: UInt32

    /// Entries that can be prepared before the kernel must be entered.
    static let submissionEntries: UInt32 = 256
    private static let completionEntries: UInt32 = 4096

    /// The setups to try, best first; the first is not known to kernels before 6.1, the second to those before 5.19.
    private static let setups: [UInt32] = [
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN
            | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
    ]

    /// Makes a disabled ring.
    ///
    /// Throws what `io_uring_setup(2)` says: `EPERM` when the system administrator disabled io_uring, `ENOSYS` when
    /// the kernel or a sandbox does not offer it, `EMFILE`, `ENFILE`, `ENOMEM`.
    init() throws(Errno) {
        raw = .allocate(capacity: 1)
        var result: Int32 = -EINVAL
        for setup in Ring.setups where result == -EINVAL {
            raw.initialize(to: io_uring())
            var parameters = io_uring_params()
            parameters.flags = setup | UInt32(IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE)
            parameters.cq_entries = Ring.completionEntries
            result = io_uring_queue_init_params(Ring.submissionEntries, raw, &parameters)
        }
        if result < 0 {
            raw.deallocate()
            throw Errno(rawValue: -result)
        }
        cairn_ring_fill_array(raw)
        let canIdle = raw.pointee.features & UInt32(CAIRN_FEAT_NO_IOWAIT) != 0
        idleFlags = canIdle ? UInt32(CAIRN_ENTER_NO_IOWAIT) : 0
    }

    /// Closes the ring; the kernel cancels what is in flight.
    func destroy() {
        io_uring_queue_exit(raw)
        raw.deallocate()
    }

    /// Binds the ring to the calling thread and lets it take entries.
    func enable() {
        let result = cairn_ring_enable(raw)
        precondition(result == 0, "cannot enable an io_uring: \(Errno(rawValue: -result))")
        // Saves a file reference per system call; harmless when refused.
        _ = io_uring_register_ring_fd(raw)
    }

    /// Undoes what `enable()` bound to the thread.
    func disable() {
        _ = io_uring_unregister_ring_fd(raw)
    }

    /// The set of operations this kernel has.
    func supports(operation: UInt32) -> Bool {
        guard let probe = io_uring_get_probe_ring(raw) else { return false }
        defer { io_uring_free_probe(probe) }
        return io_uring_opcode_supported(probe, Int32(operation)) != 0
    }

    /// The next free entry, or nil when the kernel must take entries first.
    @inline(__always)
    func nextEntry() -> UnsafeMutablePointer<io_uring_sqe>? { io_uring_get_sqe(raw) }

    /// Takes the oldest completion off the ring.
    @inline(__always)
    func popCompletion() -> (userData: UInt64, result: Int32)? {
        var userData: UInt64 = 0
        var result: Int32 = 0
        return cairn_ring_pop(raw, &userData, &result) ? (userData, result) : nil
    }

    /// Whether there is anything to enter the kernel for.
    @inline(__always)
    var hasNews: Bool { cairn_ring_unsubmitted(raw) != 0 || cairn_ring_needs_enter(raw) }

    /// Hands all prepared entries to the kernel; with `wait`, returns no earlier than one completion is there, unless
    /// the call was interrupted or failed. Entries that the kernel did not take stay prepared.
    ///
    /// - Parameter idle: the wait is for something to do, not for storage (it does not count as I/O pressure).
    /// - Returns: 0 or more, or a negative errno.
    @inline(__always)
    func enter(wait: Bool, idle: Bool) -> Int32 {
        cairn_ring_enter(raw, wait ? 1 : 0, idle ? idleFlags : 0)
    }

    /// `enter` that waits, but no longer than so many seconds.
    func enter(idle: Bool, seconds: Int64) -> Int32 {
        cairn_ring_enter_limited(raw, idle ? idleFlags : 0, seconds)
    }

    /// Whether completions are on the ring.
    var hasCompletions: Bool { cairn_ring_ready(raw) }

    /// Looks for completions, or news of such in the kernel, for so long at most.
    func poll(nanoseconds: Int) { cairn_ring_poll(raw, Int64(nanoseconds)) }

    /// Waits a moment for a completion: when the kernel is short of memory for new entries.
    func breathe() { cairn_ring_breathe(raw) }
}
