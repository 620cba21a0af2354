import BlockGraph
import IOLoop
import Synchronization

/// A part of a copy.
struct CopyPart: Sendable {
    /// What is done.
    let action: CopyAction
    /// The bytes of the copy.
    let range: ByteRange
    /// The part's place in the order of writes, from 0.
    let number: Int
}

/// Hands out the parts of a copy, one after the other, to workers on any loop.
final class CopyPlan: Sendable {
    private struct State {
        var offset: Int64 = 0
        var numbers = 0
        var run = (action: CopyAction.skip, end: Int64(0))
    }

    private let sources: CopySources
    private let configuration: CopyConfiguration
    private let lock = AsyncMutex()
    private let state = Mutex(State())

    /// The plan of a copy from its start to its end.
    init(_ sources: CopySources, _ configuration: CopyConfiguration) {
        self.sources = sources
        self.configuration = configuration
    }

    /// The next part that is not skipped, nil at the end. Error: the status of the source cannot be told.
    func next() async throws(CopyError) -> CopyPart? {
        await lock.lock()
        defer { lock.unlock() }
        var state = state.withLock { $0 }
        while state.offset < sources.length {
            if state.offset >= state.run.end { state.run = try await run(at: state.offset) }
            if state.run.action == .skip {
                state.offset = state.run.end
                continue
            }
            let range = state.offset..<end(of: state)
            state.offset = range.upperBound
            state.numbers += 1
            self.state.withLock { $0 = state }
            return CopyPart(action: state.run.action, range: range, number: state.numbers - 1)
        }
        self.state.withLock { $0 = state }
        return nil
    }

    /// Where the part at the state's offset ends.
    private func end(of state: State) -> Int64 {
        if configuration.isCompressed {
            // A unit of allocation is written whole: what the run does not have of it is read too.
            let end = (state.offset + 1).alignedUp(to: configuration.granularity)
            return min(sources.length, end)
        }
        let limit = state.run.action == .zero && configuration.sparseSize > 0 ? 1 << 30 : CopyConfiguration.chunkSize
        return min(state.run.end, (state.offset + 1).alignedUp(to: limit))
    }

    private func run(at offset: Int64) async throws(CopyError) -> (action: CopyAction, end: Int64) {
        do throws(Errno) {
            let (action, length) = try await sources.action(at: offset, configuration)
            // Guards against a status that makes no progress.
            let end = min(sources.length, offset + max(length, 512))
            guard configuration.isCompressed, action != .copy else { return (action, end) }
            // Only whole units of allocation can be left out or made zero.
            let whole = end == sources.length ? end : end.alignedDown(to: configuration.granularity)
            return whole > offset ? (action, whole) : (.copy, end)
        } catch {
            if configuration.salvages { return (.copy, offset.alignedDown(to: 65536) + 65536) }
            throw CopyError(.status(offset), error)
        }
    }
}

/// Why a copy ends before its time.
struct CopyError: Error {
    /// What could not be done, at which byte.
    enum Step: Sendable {
        case status(Int64)
        case read(Int64)
        case write(Int64)
    }

    let step: Step
    let errno: Errno

    init(_ step: Step, _ errno: Errno) {
        self.step = step
        self.errno = errno
    }
}
