import IOLoop
import Synchronization

/// The progress of a copy: workers add what they have done, and the main loop shows it.
final class CopyProgress: Sendable {
    private let isShown: Bool
    private let done = Atomic<Int64>(0)
    private let isPending = Atomic<Bool>(false)
    @GraphActor private var total: Int64 = 0
    @GraphActor private var bar: ProgressBar

    /// A progress of nothing.
    @GraphActor
    init(isShown: Bool) {
        self.isShown = isShown
        bar = ProgressBar(isShown: isShown)
    }

    /// Finds out how many bytes are to be copied, and shows that none has been. Error: the status cannot be told.
    @GraphActor
    func begin(_ sources: CopySources, _ configuration: CopyConfiguration) async throws(CopyError) {
        guard isShown else { return }
        var offset: Int64 = 0
        while offset < sources.length {
            do throws(Errno) {
                let (action, length) = try await sources.action(at: offset, configuration)
                if action == .copy || (action == .zero && configuration.sparseSize == 0) { total += length }
                offset += max(512, length)
            } catch {
                guard configuration.salvages else { throw CopyError(.status(offset), error) }
                offset += 65536
            }
        }
        bar.update(done: 0, of: total)
    }

    /// Adds bytes that have been copied.
    func add(_ count: Int64) {
        guard isShown else { return }
        done.wrappingAdd(count, ordering: .relaxed)
        guard !isPending.exchange(true, ordering: .relaxed) else { return }
        GraphActor.spawn { [self] in
            isPending.store(false, ordering: .relaxed)
            bar.update(done: min(total, done.load(ordering: .relaxed)), of: total)
        }
    }

    /// Shows that all is done, and ends the line.
    @GraphActor
    func finish() {
        bar.update(done: 1, of: 1)
        bar.finish()
    }
}
