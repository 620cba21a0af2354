import CLiburing
import Glibc
import Synchronization

/// What other threads ask of a loop: jobs to run, operations to cancel, and to stop.
///
/// The loop looks here once per turn; the eventfd is written only when the loop sleeps or is about to.
final class Inbox: Sendable {
    /// Readable while the sleeping loop has something here.
    let eventDescriptor: Int32

    private let state = Mutex(State())

    private struct State: ~Copyable {
        var jobs = FIFO<UnownedJob>(minimumCapacity: 64)
        var cancellations = FIFO<UInt64>()
        var sleeping = false
        var stopped = false

        var isEmpty: Bool { jobs.isEmpty && cancellations.isEmpty && !stopped }
    }

    init() throws(Errno) {
        eventDescriptor = try Errno.checkCall(eventfd(0, Int32(EFD_CLOEXEC)))
    }

    deinit {
        close(eventDescriptor)
    }

    func add(job: UnownedJob) {
        let wake = state.withLock { state in
            state.jobs.append(job)
            return Inbox.mustWake(&state)
        }
        if wake { signal() }
    }

    func add(cancellation: UInt64) {
        let wake = state.withLock { state in
            state.cancellations.append(cancellation)
            return Inbox.mustWake(&state)
        }
        if wake { signal() }
    }

    func stop() {
        let wake = state.withLock { state in
            state.stopped = true
            return Inbox.mustWake(&state)
        }
        if wake { signal() }
    }

    /// What the loop does after it looked here.
    enum Verdict {
        case work
        case sleep
        case stop
    }

    /// Moves everything to the loop, in order. When there was nothing and the loop `wouldSleep`, the next thing that
    /// arrives writes the eventfd.
    func collect(wouldSleep: Bool, jobs: (UnownedJob) -> Void, cancellations: (UInt64) -> Void) -> Verdict {
        state.withLock { state in
            if state.isEmpty {
                state.sleeping = wouldSleep
                return wouldSleep ? .sleep : .work
            }
            state.sleeping = false
            while let job = state.jobs.popFirst() { jobs(job) }
            while let userData = state.cancellations.popFirst() { cancellations(userData) }
            return state.stopped ? .stop : .work
        }
    }

    /// Whether this is the first news for a sleeping loop; it is awake from then on.
    private static func mustWake(_ state: inout State) -> Bool {
        defer { state.sleeping = false }
        return state.sleeping
    }

    private func signal() {
        var one: UInt64 = 1
        // Cannot fail: the counter cannot reach its limit, since the loop is woken once per sleep.
        _ = write(eventDescriptor, &one, MemoryLayout<UInt64>.size)
    }
}
