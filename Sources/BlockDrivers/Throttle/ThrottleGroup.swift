import BlockGraph
import IOLoop
import Synchronization

/// A set of nodes that share limits: each gets its turn, request by request.
///
/// Requests of one direction pass in turns between the nodes and in order within a node. Only while some wait is there a
/// task with a timer, one for reads and one for writes. A cancelled request keeps its place: whoever began it may have
/// gone, but layers above rely on it being done.
public final class ThrottleGroup: Sendable {
    /// The name of the object.
    public let name: String
    private let clock: any ThrottleClock
    private let state: Mutex<State>
    /// Spares requests the lock where nothing is limited.
    private let isLimiting: Atomic<Bool>

    fileprivate struct State {
        var throttle: ThrottleState
        var members: [ThrottleMember] = []
        var lines = [Line](repeating: Line(), count: ThrottleDirection.allCases.count)
    }

    /// Those who wait in one direction.
    fileprivate struct Line {
        /// The queues of the members that have one, the one whose turn it is first.
        var queues: [(member: ThrottleMember, waiters: [Waiter])] = []
        /// The task that wakes the waiters; nil exactly while nobody waits.
        var timer: Task<Void, Never>?
        /// Counts the timers, so that one that has been replaced does nothing.
        var timerNumber = 0
    }

    fileprivate struct Waiter {
        let bytes: Int64
        let continuation: UnsafeContinuation<Void, Never>
    }

    /// Makes a group. Errors: the limits do not go together.
    public init(
        name: String, _ configuration: ThrottleConfiguration = ThrottleConfiguration(),
        clock: any ThrottleClock = SystemThrottleClock()
    ) throws(BlockError) {
        try configuration.check()
        self.name = name
        self.clock = clock
        state = Mutex(State(throttle: ThrottleState(configuration, now: clock.now)))
        isLimiting = Atomic(configuration.isLimiting)
    }

    // MARK: Limits

    /// The limits.
    public var configuration: ThrottleConfiguration { state.withLock { $0.throttle.configuration } }

    /// Changes the limits; what has passed so far is forgotten. Errors: the limits do not go together.
    public func setConfiguration(_ configuration: ThrottleConfiguration) throws(BlockError) {
        try configuration.check()
        let now = clock.now
        state.withLock { state in
            state.throttle = ThrottleState(configuration, now: now)
            isLimiting.store(configuration.isLimiting, ordering: .relaxed)
            for direction in ThrottleDirection.allCases where state.lines[direction.rawValue].timer != nil {
                state.lines[direction.rawValue].timer?.cancel()
                startTimer(direction, &state)
            }
        }
    }

    /// Changes some limits by their names: those that are not named stay.
    ///
    /// Errors: the limits do not go together, or a burst is too long; nothing changes then.
    public func update(_ members: [(name: String, value: Int64)]) throws(BlockError) {
        var new = configuration
        for (name, value) in members where try !new.set(name, to: value) {
            throw BlockError("Parameter 'limits.\(name)' is unexpected")
        }
        try setConfiguration(new)
    }

    // MARK: Members

    /// Makes a member for a node.
    func join() -> ThrottleMember {
        let member = ThrottleMember(group: self)
        state.withLock { $0.members.append(member) }
        return member
    }

    /// Takes a member away, which has no requests any more.
    func leave(_ member: ThrottleMember) {
        state.withLock { $0.members.removeAll { $0 === member } }
    }

    /// Whether nodes use the group, so that it cannot be deleted.
    public var isInUse: Bool { state.withLock { !$0.members.isEmpty } }

    /// The number of requests that wait.
    public var waitingCount: Int {
        state.withLock { $0.lines.reduce(0) { $0 + $1.queues.reduce(0) { $0 + $1.waiters.count } } }
    }

    // MARK: Requests

    /// Returns when a request of the member may pass, and counts it.
    func pass(_ member: ThrottleMember, _ direction: ThrottleDirection, bytes: Int64) async {
        guard isLimiting.load(ordering: .relaxed) else { return }
        if state.withLock({ tryPass(member, direction, bytes: bytes, &$0) }) { return }
        await withUnsafeContinuation { continuation in
            let passes = state.withLock { state in
                if tryPass(member, direction, bytes: bytes, &state) { return true }
                state.lines[direction.rawValue].append(Waiter(bytes: bytes, continuation: continuation), of: member)
                if state.lines[direction.rawValue].timer == nil { startTimer(direction, &state) }
                return false
            }
            if passes { continuation.resume() }
        }
    }

    private func tryPass(
        _ member: ThrottleMember, _ direction: ThrottleDirection, bytes: Int64, _ state: inout State
    ) -> Bool {
        if member.bypassCount.load(ordering: .relaxed) == 0 {
            guard state.lines[direction.rawValue].queues.isEmpty else { return false }
            guard state.throttle.wait(direction, now: clock.now) == 0 else { return false }
        }
        state.throttle.account(direction, bytes: bytes)
        return true
    }

    /// From now on requests of the member pass at once; those that wait are let through. Balanced by `endBypass`.
    func beginBypass(_ member: ThrottleMember) {
        let released = state.withLock { state -> [Waiter] in
            member.bypassCount.add(1, ordering: .relaxed)
            var released: [Waiter] = []
            for direction in ThrottleDirection.allCases {
                let waiters = state.lines[direction.rawValue].removeAll(of: member)
                for waiter in waiters { state.throttle.account(direction, bytes: waiter.bytes) }
                released += waiters
            }
            return released
        }
        for waiter in released { waiter.continuation.resume() }
    }

    /// Takes one `beginBypass` back.
    func endBypass(_ member: ThrottleMember) {
        member.bypassCount.subtract(1, ordering: .relaxed)
    }

    // MARK: Timers

    /// Starts the task that wakes the waiters of a direction, in the place of one that there may be.
    private func startTimer(_ direction: ThrottleDirection, _ state: inout State) {
        state.lines[direction.rawValue].timerNumber += 1
        let number = state.lines[direction.rawValue].timerNumber
        // On the main loop: the loop of the request may be stopped while requests of other loops still wait.
        state.lines[direction.rawValue].timer = Task(executorPreference: IOLoop.main) {
            while let deadline = self.wakeWaiters(direction, timer: number) {
                await self.clock.sleep(until: deadline)
            }
        }
    }

    /// Lets those pass who need not wait any more. Returns when the next one may pass; nil where nobody waits, or where
    /// another timer has taken over.
    private func wakeWaiters(_ direction: ThrottleDirection, timer: Int) -> MonotonicTime? {
        let now = clock.now
        var released: [Waiter] = []
        let deadline = state.withLock { state -> MonotonicTime? in
            guard state.lines[direction.rawValue].timerNumber == timer else { return nil }
            while !state.lines[direction.rawValue].queues.isEmpty {
                let wait = state.throttle.wait(direction, now: now)
                if wait > 0 { return now.advanced(by: .nanoseconds(wait)) }
                guard let waiter = state.lines[direction.rawValue].removeFirst() else { break }
                state.throttle.account(direction, bytes: waiter.bytes)
                released.append(waiter)
            }
            state.lines[direction.rawValue].timer = nil
            return nil
        }
        for waiter in released { waiter.continuation.resume() }
        return deadline
    }
}

extension ThrottleGroup.Line {
    fileprivate mutating func append(_ waiter: ThrottleGroup.Waiter, of member: ThrottleMember) {
        if let index = queues.firstIndex(where: { $0.member === member }) {
            queues[index].waiters.append(waiter)
        } else {
            queues.append((member, [waiter]))
        }
    }

    /// Takes the first waiter of the member whose turn it is; the member's other requests come after those of the others.
    fileprivate mutating func removeFirst() -> ThrottleGroup.Waiter? {
        guard !queues.isEmpty else { return nil }
        var queue = queues.removeFirst()
        let waiter = queue.waiters.removeFirst()
        if !queue.waiters.isEmpty { queues.append(queue) }
        return waiter
    }

    fileprivate mutating func removeAll(of member: ThrottleMember) -> [ThrottleGroup.Waiter] {
        guard let index = queues.firstIndex(where: { $0.member === member }) else { return [] }
        return queues.remove(at: index).waiters
    }
}

/// A node's part in a throttle group.
final class ThrottleMember: Sendable {
    let group: ThrottleGroup
    /// While positive, requests pass at once; changed and looked at under the group's lock.
    fileprivate let bypassCount = Atomic<Int>(0)

    fileprivate init(group: ThrottleGroup) { self.group = group }
}
