import Synchronization

/// The requests under way on byte ranges, so that those which must not overlap wait for each other.
///
/// Exclusive requests overlap no others; shared ones may overlap each other. A request waits only for those that began
/// before it, so there is no deadlock as long as a holder begins no second request that overlaps its first.
public final class RangeTracker: Sendable {
    /// A request under way.
    public struct Token: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private struct Entry {
        let number: UInt64
        let range: ByteRange
        let isExclusive: Bool
        var waiters: [UnsafeContinuation<Void, Never>]
    }

    private struct State {
        var entries: [Entry] = []
        var lastNumber: UInt64 = 0

        /// The place of a request from before `number` that overlaps the range and does not go with it.
        func conflict(before number: UInt64, _ range: ByteRange, exclusive: Bool) -> Int? {
            entries.firstIndex { entry in
                entry.number < number && (exclusive || entry.isExclusive) && entry.range.overlaps(range)
            }
        }
    }

    private let state = Mutex(State())

    /// A tracker without requests.
    public init() {}

    /// Begins a request; returns when every conflicting request that began earlier has ended.
    public func begin(_ range: ByteRange, exclusive: Bool) async -> Token {
        let (token, mustWait) = state.withLock { state -> (Token, Bool) in
            state.lastNumber += 1
            let number = state.lastNumber
            let mustWait = state.conflict(before: number, range, exclusive: exclusive) != nil
            state.entries.append(Entry(number: number, range: range, isExclusive: exclusive, waiters: []))
            return (Token(number: number), mustWait)
        }
        if mustWait { await wait(before: token.number, range, exclusive: exclusive) }
        return token
    }

    /// Begins a request where no conflicting one is under way; nil where one is.
    public func tryBegin(_ range: ByteRange, exclusive: Bool) -> Token? {
        state.withLock { state in
            let number = state.lastNumber + 1
            guard state.conflict(before: number, range, exclusive: exclusive) == nil else { return nil }
            state.lastNumber = number
            state.entries.append(Entry(number: number, range: range, isExclusive: exclusive, waiters: []))
            return Token(number: number)
        }
    }

    /// Ends a request and lets those go on that waited for it.
    public func end(_ token: Token) {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            guard let index = state.entries.firstIndex(where: { $0.number == token.number }) else { return [] }
            return state.entries.remove(at: index).waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when all requests that are under way now and overlap the range have ended. Later ones are not waited for.
    public func waitUntilFree(_ range: ByteRange) async {
        let number = state.withLock { state -> UInt64? in
            let number = state.lastNumber + 1
            return state.conflict(before: number, range, exclusive: true) == nil ? nil : number
        }
        if let number { await wait(before: number, range, exclusive: true) }
    }

    /// Whether no request is under way that overlaps the range.
    public func isFree(_ range: ByteRange) -> Bool {
        state.withLock { $0.conflict(before: .max, range, exclusive: true) == nil }
    }

    /// Whether no request is under way.
    public var isEmpty: Bool { state.withLock { $0.entries.isEmpty } }

    private func wait(before number: UInt64, _ range: ByteRange, exclusive: Bool) async {
        while state.withLock({ $0.conflict(before: number, range, exclusive: exclusive) }) != nil {
            await withUnsafeContinuation { continuation in
                let isParked = state.withLock { state in
                    guard let index = state.conflict(before: number, range, exclusive: exclusive) else { return false }
                    state.entries[index].waiters.append(continuation)
                    return true
                }
                if !isParked { continuation.resume() }
            }
        }
    }
}
