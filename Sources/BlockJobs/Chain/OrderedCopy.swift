import BlockGraph
import IOLoop

/// Goes through a range from its start to its end and copies parts of it, some at the same time.
///
/// Progress is what lies before the first part that has not been copied, as if they were copied one after the other: what
/// clients see of errors does not depend on which request came back first.
@GraphActor
final class OrderedCopy {
    /// The most bytes of a part.
    nonisolated static let partSize: Int64 = 512 * 1024
    /// The most bytes of a run of zeroes, or of bytes that are left out.
    nonisolated static let runSize: Int64 = 64 << 20
    /// How many parts are copied at the same time.
    nonisolated static let concurrency = 16
    /// How many parts may be copied before the first one.
    nonisolated static let lookAhead = 64
    /// How long a request rests that failed and is tried again nevertheless.
    nonisolated static let retryDelay = Duration.milliseconds(100)

    /// What becomes of parts that cannot be copied although nobody minds.
    enum Failures {
        /// They are left out, and the job fails in the end.
        case fatal
        /// They are tried again.
        case retried
    }

    /// What to do with a run of bytes.
    struct Run: Hashable, Sendable {
        /// The number of bytes, 1 or more.
        let length: Int64
        /// Whether they are copied.
        let isCopied: Bool
        /// Whether they are zeroes, which are copied at once.
        let isZero: Bool
    }

    private final class Part {
        enum State { case waiting, running, done, failed(CopyUpError) }
        let range: ByteRange
        let isZero: Bool
        var state: State

        init(_ range: ByteRange, isZero: Bool, _ state: State) {
            self.range = range
            self.isZero = isZero
            self.state = state
        }

        var isWaiting: Bool { if case .waiting = state { true } else { false } }
    }

    private let job: Job
    private let length: Int64
    private let policy: JobErrorPolicy
    private let failures: Failures
    private let countsProgress: Bool
    private let scan: (ByteRange) async throws(Errno) -> Run
    private let copy: @Sendable (ByteRange, Bool) async throws(CopyUpError) -> Void

    private var position: Int64 = 0
    private var parts: ArraySlice<Part> = []
    private var running = 0
    private var scans = 0
    private var firstFailure: BlockError?
    private let idle = WaitQueue()

    /// - Parameters:
    ///   - length: the end of the range, which begins at 0.
    ///   - countsProgress: whether clients hear of the progress.
    ///   - scan: tells what to do with the first bytes of a range.
    ///   - copy: copies a part, which is all zeroes or may be anything.
    init(
        _ job: Job, length: Int64, policy: JobErrorPolicy, failures: Failures, countsProgress: Bool = true,
        scan: @escaping (ByteRange) async throws(Errno) -> Run,
        copy: @escaping @Sendable (ByteRange, Bool) async throws(CopyUpError) -> Void
    ) {
        self.job = job
        self.length = length
        self.policy = policy
        self.failures = failures
        self.countsProgress = countsProgress
        self.scan = scan
        self.copy = copy
    }

    /// Does it all; returns earlier where the job is cancelled. No request is under way then.
    /// Error: a request failed, and that is not to be overlooked.
    func run() async throws(BlockError) {
        do {
            try await work()
        } catch {
            await idle.wait(until: { running == 0 })
            throw error
        }
        await idle.wait(until: { running == 0 })
        if let firstFailure, !job.isCancelled { throw firstFailure }
    }

    private func work() async throws(BlockError) {
        while !job.isCancelled {
            if case .failed(let error)? = parts.first?.state {
                try await handle(error)
            } else if job.state.mustPause {
                await idle.wait(until: { running == 0 })
                await job.pausePoint()
            } else if running < Self.concurrency, let part = parts.first(where: \.isWaiting) {
                start(part)
                await keepToLimit(part)
            } else if running < Self.concurrency, parts.count < Self.lookAhead, position < length {
                await addRun()
            } else if parts.isEmpty {
                return
            } else {
                await job.wait(until: { canGoOn })
            }
        }
    }

    /// Waits as long as the limit asks for after a part, unless an error is to be told of.
    private func keepToLimit(_ part: Part) async {
        guard !part.isZero, let deadline = job.limiter.account(part.range.length) else { return }
        await job.rest(until: deadline) { if case .failed? = parts.first?.state { true } else { false } }
    }

    /// Whether there is something to do but to wait for requests.
    private var canGoOn: Bool {
        guard let first = parts.first else { return true }
        if case .failed = first.state { return true }
        guard running < Self.concurrency else { return false }
        return parts.contains(where: \.isWaiting) || (parts.count < Self.lookAhead && position < length)
    }

    /// Finds out what to do next.
    private func addRun() async {
        let rest = position..<min(length, position + Self.runSize)
        let run: Run
        do {
            run = try await scan(rest)
        } catch {
            // Told of when everything before has been copied. When it is tried again, all of it is copied.
            let range = position..<min(rest.upperBound, position + Self.partSize)
            position = range.upperBound
            return parts.append(Part(range, isZero: false, .failed(CopyUpError(errno: error, isRead: true))))
        }
        scans += 1
        if scans % 64 == 0 { await Task.yield() }
        let range = position..<position + run.length
        position = range.upperBound
        if run.isCopied, !run.isZero {
            for piece in range.pieces(ofAtMost: Self.partSize) {
                parts.append(Part(piece, isZero: false, .waiting))
            }
        } else {
            parts.append(Part(range, isZero: run.isZero, run.isCopied ? .waiting : .done))
            advance()
        }
    }

    private func start(_ part: Part) {
        part.state = .running
        running += 1
        GraphActor.spawn {
            do throws(CopyUpError) {
                try await self.copy(part.range, part.isZero)
                part.state = .done
            } catch {
                part.state = .failed(error)
            }
            self.running -= 1
            self.advance()
            self.idle.notifyAll()
            self.job.changed()
        }
    }

    /// Counts what has been copied at the beginning.
    private func advance() {
        while let first = parts.first, case .done = first.state {
            if countsProgress { job.advance(by: first.range.length) }
            parts = parts.dropFirst()
        }
    }

    /// The first part could not be copied.
    private func handle(_ error: CopyUpError) async throws(BlockError) {
        let failure = BlockError("\(error.errno)", errno: error.errno)
        switch job.handle(error.errno, isRead: error.isRead, policy: policy) {
        case .report: throw failure
        case .stop: await idle.wait(until: { running == 0 })
        case .ignore:
            if failures == .fatal {
                firstFailure = firstFailure ?? failure
                parts.first?.state = .done
                return advance()
            }
            await job.rest(until: MonotonicTime.now.advanced(by: Self.retryDelay))
        }
        for part in parts { if case .failed = part.state { part.state = .waiting } }
    }
}
