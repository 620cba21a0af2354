import CLiburing
import CLinuxShims
import Glibc
import Synchronization

/// One thread, one `io_uring`, and an executor of tasks on that thread.
///
/// Use it as the preferred executor of a task (`Task(executorPreference: loop)`) or as an actor's executor. Files,
/// sockets and timers work on the ring of the loop whose thread calls them. A loop runs once: after `stop()` it
/// cannot be started again, and jobs that are enqueued then never run, so end the tasks of a loop before stopping it.
public final class IOLoop: TaskExecutor, SerialExecutor, @unchecked Sendable {
    // Unchecked: all mutable state is either in `inbox` (a mutex) or touched by the loop's own thread only.

    /// The loop's name; its first 15 bytes name the thread.
    public let name: String

    let ring: Ring
    let inbox: Inbox
    /// Where the read of the inbox's eventfd puts its counter.
    let wakeUps: UnsafeMutablePointer<UInt64>
    let slots = OperationSlots()
    let messages = MessagePool()
    /// Buffers of the shared pool that the loop keeps for itself.
    let buffers: BufferCache
    private let lifecycle = Mutex(Lifecycle.created)
    /// What is isolated to the loop.
    let home = LoopActor()

    @exclusivity(unchecked) var ready = FIFO<UnownedJob>(minimumCapacity: 1024)
    /// Tasks that let all that are ready go first.
    @exclusivity(unchecked) var yielding = FIFO<UnsafeContinuation<Void, Never>>()
    /// Operations in flight that wait for storage rather than for a peer or a timer.
    @exclusivity(unchecked) var storageOperations = 0
    /// Bytes that may still be copied on the loop's thread in this turn, and the tasks that wait for the next.
    @exclusivity(unchecked) var bytesToCopy = 0
    /// Whether the loop has waited for something to do since it made a long copy, and what it may copy of that kind still.
    @exclusivity(unchecked) var hasWaited = false
    @exclusivity(unchecked) var longBytesToCopy = 0
    @exclusivity(unchecked) var nextTurn = FIFO<UnsafeContinuation<Void, Never>>()
    /// How often the loop has entered the kernel for its ring. On the loop's thread.
    @exclusivity(unchecked) public internal(set) var kernelEntries = 0
    @exclusivity(unchecked) private var supportsTruncate: Bool?
    /// Who wants to know when the running job returns.
    @exclusivity(unchecked) var returnObserver: Unmanaged<JobObserver>?
    /// How long to look for completions before sleeping.
    let polling = Polling()

    private enum Lifecycle {
        case created
        case started(pthread_t)
        case running
        case joined
    }

    /// Makes a loop that does not run yet; tasks can be enqueued already.
    ///
    /// Throws what `io_uring_setup(2)` says: `EPERM` when io_uring is disabled (`sysctl kernel.io_uring_disabled`),
    /// `ENOSYS` when the kernel or a sandbox lacks it, `EMFILE`, `ENFILE`, `ENOMEM`.
    public init(name: String) throws(Errno) {
        self.name = name
        inbox = try Inbox()
        ring = try Ring()
        buffers = BufferPool.shared.makeCache()
        wakeUps = .allocate(capacity: 1)
        wakeUps.initialize(to: 0)
        home.adopt(self)
    }

    deinit {
        ring.destroy()
        wakeUps.deallocate()
        BufferPool.shared.retire(buffers)
    }

    /// The control plane's loop, `GraphActor`'s executor. The program runs it with `start()` or, in its main thread,
    /// with `run()`. The first use ends the process with a message when io_uring is not available.
    public static let main: IOLoop = {
        do {
            return try IOLoop(name: "main")
        } catch {
            let hint = "is it disabled (sysctl kernel.io_uring_disabled) or filtered by a sandbox?"
            cairn_print_error("cannot set up io_uring: \(error) (\(hint))")
            exit(1)
        }
    }()

    /// The loop of the calling thread, or nil on a thread that is not a loop's.
    public static var current: IOLoop? {
        guard let loop = cairn_current_loop() else { return nil }
        return Unmanaged<IOLoop>.fromOpaque(loop).takeUnretainedValue()
    }

    /// The loop of the calling thread; a programming error on any other thread.
    public static var required: IOLoop {
        guard let loop = current else {
            preconditionFailure("I/O outside of an IOLoop thread: run the task with an IOLoop as its executor")
        }
        return loop
    }

    /// Whether the caller is on this loop's thread.
    public var isCurrent: Bool {
        cairn_current_loop() == Unmanaged.passUnretained(self).toOpaque()
    }

    /// Whether the loop runs, or has run.
    var hasStarted: Bool {
        lifecycle.withLock { state in
            if case .created = state { false } else { true }
        }
    }

    /// Runs the loop on a new thread that blocks all signals; does nothing when it runs already.
    public func start() {
        lifecycle.withLock { state in
            guard case .created = state else { return }
            var thread = pthread_t()
            let retained = Unmanaged.passRetained(self).toOpaque()
            let result = pthread_create(&thread, nil, threadMain, retained)
            precondition(result == 0, "cannot create a thread: \(Errno(rawValue: result))")
            state = .started(thread)
        }
    }

    /// Runs the loop on the calling thread until `stop()`; the loop must not run yet.
    public func run() {
        lifecycle.withLock { state in
            guard case .created = state else { preconditionFailure("the loop \(name) was started before") }
            state = .running
        }
        // A peer that closes its end is an error of the write, never a signal.
        block([SIGPIPE])
        runUntilStopped()
    }

    /// Makes `run()` return, or the loop's thread end, after the current turn. From any thread.
    public func stop() { inbox.stop() }

    /// Waits for the thread of `start()` to end after `stop()`; from another thread. Blocks the caller.
    public func join() {
        precondition(!isCurrent, "a loop's thread cannot wait for itself")
        let thread: pthread_t? = lifecycle.withLock { state in
            guard case .started(let thread) = state else { return nil }
            state = .joined
            return thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    /// Lets the loop look for completions for a while before it sleeps, which takes processor time and makes replies to single
    /// requests faster. Loops do not until they are told to. From any thread.
    ///
    /// - Parameters:
    ///   - limit: the most nanoseconds to look; 0 for not at all.
    ///   - growth: the factor by which the time grows while waits are longer than it, up to the limit; 0 for 2.
    ///   - shrinkage: the divisor by which it shrinks after a wait that was longer than the limit; 0 for down to nothing.
    public func setPolling(limit: Int, growth: Int = 0, shrinkage: Int = 0) {
        polling.set(limit: limit, growth: growth, shrinkage: shrinkage)
    }

    /// Whether the kernel can truncate through the ring. On the loop's thread.
    var canTruncate: Bool {
        if let known = supportsTruncate { return known }
        let supported = ring.supports(operation: UInt32(CAIRN_OP_FTRUNCATE))
        supportsTruncate = supported
        return supported
    }
}

/// The body of a loop's own thread, which keeps the loop alive until it ends.
private func threadMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let loop = Unmanaged<IOLoop>.fromOpaque(argument).takeRetainedValue()
    cairn_name_thread(String(decoding: loop.name.utf8.prefix(15), as: UTF8.self))
    var all = sigset_t()
    sigfillset(&all)
    // The signals of a crash stay deliverable.
    for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { sigdelset(&all, fault) }
    pthread_sigmask(SIG_BLOCK, &all, nil)
    loop.runUntilStopped()
    return nil
}

/// Blocks delivery of `signals` to the calling thread.
func block(_ signals: [Int32]) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
}
