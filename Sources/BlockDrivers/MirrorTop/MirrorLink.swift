import BlockGraph
import IOLoop
import Synchronization

/// What joins the two sides of a mirror: the filter brings the guest's writes here, the job copies here.
///
/// A copy is a request of both backends from before it makes its claim until after it has given that back. A guest write that
/// goes to both sides is a request of the target's backend likewise. So whoever holds a claim is held up by no drained section.
public final class MirrorLink: Sendable {
    /// What becomes of guest writes.
    public enum Mode: UInt8, Sendable, AtomicRepresentable {
        /// They go to the source, and nobody notes them.
        case off
        /// They go to the source, and are noted to be copied later.
        case background
        /// They go to both sides.
        case writeBlocking
    }

    /// Where the sides differ.
    public let map: MirrorMap
    /// Whether zeroes may be made by deallocating in the target.
    public let unmaps: Bool
    /// Whether the target takes whole granules only: a part of one would change what the rest of it reads as, since the
    /// target has no backing image yet.
    public let copiesWholeGranules: Bool
    /// Called when a guest write has changed what the job has to know, from any loop: it must be quick.
    public let changed: @Sendable () -> Void

    private let currentMode = Atomic(Mode.off)
    private let mirroredByteCount = Atomic<Int64>(0)
    private let writeError = Mutex<Errno?>(nil)
    /// Set before the mode is, and constant while it is not `off`.
    private nonisolated(unsafe) var targetBackend: BlockBackend?

    /// A link over a disk of `length` bytes.
    public init(
        length: Int64, granularity: Int64, unmaps: Bool, copiesWholeGranules: Bool = false,
        changed: @escaping @Sendable () -> Void
    ) {
        map = MirrorMap(length: length, granularity: granularity)
        self.unmaps = unmaps
        self.copiesWholeGranules = copiesWholeGranules
        self.changed = changed
    }

    /// Names the user of the target; once, before the mode is set.
    @GraphActor public func connect(to target: BlockBackend) { targetBackend = target }

    /// What becomes of guest writes. Requests that are under way go on as they began.
    public var mode: Mode {
        get { currentMode.load(ordering: .acquiring) }
        set { currentMode.store(newValue, ordering: .releasing) }
    }

    /// The bytes that guest writes have brought to the target.
    public var mirroredBytes: Int64 { mirroredByteCount.load(ordering: .relaxed) }

    /// The first error of a guest write in the target since the last call: what it wrote is noted to be copied.
    public func takeWriteError() -> Errno? {
        writeError.withLock { error in
            defer { error = nil }
            return error
        }
    }

    /// Whether there is such an error.
    public var hasWriteError: Bool { writeError.withLock { $0 != nil } }

    var target: BlockNode {
        guard let targetBackend else { preconditionFailure("a mirror works before it has a target") }
        return targetBackend.node
    }

    // MARK: Guest writes

    /// A change that a guest makes.
    enum Change {
        case write(IOBuffer)
        case zeroes
        case discard
    }

    /// Carries a guest's change out on the source, and sees to it that the target gets it. A target that fails does not fail
    /// the guest.
    func perform(_ change: Change, _ range: ByteRange, flags: WriteFlags, on source: BlockNode) async throws(Errno) {
        if case .discard = change, source.options.discard == .ignore { return }
        switch mode {
        case .off: try await Self.apply(change, range, flags: flags, to: source)
        case .writeBlocking where targetBackend?.tryBeginRequest() == true:
            defer { targetBackend?.endRequest() }
            try await performOnBoth(change, range, flags: flags, on: source)
        case .background, .writeBlocking:
            defer {
                map.markDirty(range)
                changed()
            }
            try await Self.apply(change, range, flags: flags, to: source)
        }
    }

    private func performOnBoth(
        _ change: Change, _ range: ByteRange, flags: WriteFlags, on source: BlockNode
    ) async throws(Errno) {
        var mirrored = range
        if copiesWholeGranules { mirrored = range.aligned(outwardTo: map.granularity).clamped(to: 0..<map.length) }
        let claim = await map.beginWrite(mirrored)
        let outcome = await applyToBoth(change, range, flags: flags, whole: mirrored, on: source)
        if outcome.sourceError == nil, outcome.targetError == nil {
            mirroredByteCount.add(range.length, ordering: .relaxed)
            map.endWrite(claim, reachedBoth: true, isZero: outcome.isZero)
        } else {
            // What the sides hold now is not known.
            if outcome.sourceError == nil { writeError.withLock { $0 = $0 ?? outcome.targetError } }
            map.endWrite(claim, reachedBoth: false)
        }
        changed()
        if let error = outcome.sourceError { throw error }
    }

    /// What became of a change on both sides.
    private struct Outcome {
        var sourceError: Errno?
        var targetError: Errno?
        /// Whether the whole range is zero in the target.
        var isZero = false
    }

    /// Carries a change out on both sides: at the same time, but where what the target gets is for the source to say.
    private func applyToBoth(
        _ change: Change, _ range: ByteRange, flags: WriteFlags, whole: ByteRange, on source: BlockNode
    ) async -> Outcome {
        let (target, targetFlags) = (target, unmaps ? flags.intersection(.mayUnmap) : [])
        let apply: @Sendable (BlockNode, WriteFlags) async throws(Errno) -> Void = {
            (node, flags) async throws(Errno) in
            try await Self.apply(change, range, flags: flags, to: node)
        }
        var outcome = Outcome()
        switch change {
        case .write where whole == range, .zeroes where whole == range:
            (outcome.sourceError, outcome.targetError) = await both { () async throws(Errno) in
                try await apply(source, flags)
            } _: { () async throws(Errno) in
                try await apply(target, targetFlags)
            }
            if case .zeroes = change { outcome.isZero = true }
        case .write, .zeroes, .discard:
            do throws(Errno) {
                try await apply(source, flags)
            } catch {
                outcome.sourceError = error
                return outcome
            }
            do throws(Errno) {
                outcome.isZero = try await copy(whole, from: source)
            } catch {
                outcome.targetError = error
            }
        }
        return outcome
    }

    private static func apply(
        _ change: Change, _ range: ByteRange, flags: WriteFlags, to node: BlockNode
    ) async throws(Errno) {
        switch change {
        case .write(let buffer): try await node.write(range, from: buffer, flags: flags)
        case .zeroes: try await node.writeZeroes(range, flags: flags)
        case .discard: try await node.discard(range)
        }
    }

    /// Copies a range that a guest write has claimed. Returns whether it is zero throughout.
    private func copy(_ range: ByteRange, from source: BlockNode) async throws(Errno) -> Bool {
        var isZero = true
        var start = range.lowerBound
        while start < range.upperBound {
            let run = try await run(at: start..<min(range.upperBound, start + Self.maximumZeroes), of: source)
            if run.isZero {
                try await target.writeZeroes(run.range, flags: unmaps ? .mayUnmap : [])
            } else {
                isZero = false
                do { try await copyData(run.range, from: source) } catch { throw error.errno }
            }
            start = run.range.upperBound
        }
        return isZero
    }
}
