import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Image {
    /// Writes everything, makes it durable, frees all released clusters on disk as well, and clears the dirty bit. No
    /// request is under way. After an error the image on disk is as after a crash: at most clusters leak, or the dirty
    /// bit is set.
    public func makeClean() async throws(Errno) {
        guard !node.isReadOnly, !isBroken.load(ordering: .relaxed) else { return }
        // Releases become changes of refcounts, which the next round writes. A commit releases nothing itself.
        repeat {
            await freeClusters()
            await commitLock.lock()
            let result = await runCommit(includingRefcounts: true)
            commitLock.unlock()
            try result.get()
        } while hasUnwritten
        if hasMarkedDirty.load(ordering: .relaxed) {
            try await setFeature(.dirty, false)
            hasMarkedDirty.store(false, ordering: .relaxed)
            mustMarkDirty.store(isLazy, ordering: .relaxed)
        }
    }

    /// Whether memory has what the disk has not.
    private var hasUnwritten: Bool {
        if quarantine.withLock({ $0.canAdvance }) { return true }
        return tables.withLock { tables in
            tables.l2.hasUnwritten || tables.refcounts.hasUnwritten || !tables.dirtyL1.isEmpty
                || !tables.dirtyRefcountTable.isEmpty
        }
    }
}
