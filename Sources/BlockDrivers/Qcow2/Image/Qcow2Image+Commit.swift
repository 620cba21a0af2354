import BlockGraph
import IOLoop
import Synchronization

extension Qcow2Image {
    /// Writes all changes of tables that were made before the call, and makes them and all data durable.
    ///
    /// Calls at the same time share one commit, which begins after all of them. Errors are those of the file and the data
    /// file; what could not be written stays in memory, and the next commit tries again.
    public func commit() async throws(Errno) {
        try checkUsable()
        let (ticket, isFirst) = tables.withLock { tables -> (CommitTicket, Bool) in
            if let waiting = tables.nextCommit { return (waiting, false) }
            let ticket = CommitTicket()
            tables.nextCommit = ticket
            return (ticket, true)
        }
        if isFirst {
            // Not under the commit lock: refcount blocks may have to be written to make room for others.
            await freeClusters()
            await commitLock.lock()
            let result = await runCommit(includingRefcounts: !isLazy)
            commitLock.unlock()
            await freeClusters()
            ticket.resolve(result)
        }
        try await ticket.wait()
    }

    /// Writes changed refcount blocks without making them durable.
    func writeBackRefcounts() async throws(Errno) {
        await commitLock.lock()
        defer { commitLock.unlock() }
        try await writeBackRefcountsLocked()
    }

    /// The same; the commit lock is held.
    func writeBackRefcountsLocked() async throws(Errno) {
        let batch = tables.withLock { $0.takeBatch(.refcountBlocks) }
        try await finishing(batch) { () async throws(Errno) in
            try await self.write(batch.refcounts, of: batch, .refblockUpdatePart, ignoring: .refcountBlock)
        }
    }

    /// Whether refcounts are written when the image is closed, under the protection of the dirty bit.
    var isLazy: Bool { tables.withLock { $0.isLazy } }

    /// One commit. The commit lock is held.
    func runCommit(includingRefcounts: Bool) async -> Result<Void, Errno> {
        // Before the copy: the tables in memory have not referred to these clusters any more since they were released.
        let released = quarantine.withLock { $0.takeReleased() }
        let batch = tables.withLock { tables -> CommitBatch in
            tables.nextCommit = nil
            return tables.takeBatch(includingRefcounts ? .everything : .mappings)
        }
        do throws(Errno) {
            try await finishing(batch) { () async throws(Errno) in try await self.write(batch) }
        } catch {
            quarantine.withLock { $0.finishCommit(released, failed: true) }
            return .failure(error)
        }
        quarantine.withLock { $0.finishCommit(released, failed: false) }
        return .success(())
    }

    /// Writes a batch in the order that makes every crash harmless.
    private func write(_ batch: CommitBatch) async throws(Errno) {
        try await write(batch.refcounts, of: batch, .refblockUpdatePart, ignoring: .refcountBlock)
        if !batch.refcountTable.isEmpty {
            // The table must not refer to blocks that are not there.
            try await file.node.flush()
            try await write(batch.refcountTable, of: batch, .refblockAllocHookup, ignoring: .refcountTable)
        }
        if batch.hasMappings {
            // Nor L2 tables to clusters without refcount, or without their data.
            try await flushAll()
            try await write(batch.l2, of: batch, .l2Update, ignoring: .activeL2)
            if !batch.l1.isEmpty {
                // Nor the L1 table to L2 tables that are not there.
                try await file.node.flush()
                try await write(batch.l1, of: batch, .l1Update, ignoring: .activeL1)
            }
        }
        try await flushAll()
    }

    /// Makes durable what has been written to the file and the data file.
    func flushAll() async throws(Errno) {
        if let dataFile { try await dataFile.node.flush() }
        try await file.node.flush()
    }

    /// Writes pieces, several at a time. Structures of their own kind they may overlap.
    private func write(
        _ pieces: [CommitBatch.Piece], of batch: CommitBatch, _ event: DebugEvent, ignoring kind: Qcow2OverlapChecks
    ) async throws(Errno) {
        guard !pieces.isEmpty else { return }
        for piece in pieces {
            try await checkOverlap(of: piece.offset..<piece.offset + Int64(piece.bytes.count), ignoring: kind)
        }
        await fire(event)
        let file = file.node
        let buffer = batch.buffer
        try await concurrently(pieces, limit: 16) { (piece) async throws(Errno) in
            try await file.write(
                piece.offset..<piece.offset + Int64(piece.bytes.count), from: buffer[piece.bytes])
        }
    }

    /// Calls the body and ends the writing of the batch.
    private func finishing(_ batch: CommitBatch, _ body: () async throws(Errno) -> Void) async throws(Errno) {
        defer {
            BufferPool.shared.give(batch.buffer)
            slotQueue.notifyAll()
        }
        do throws(Errno) {
            try await body()
        } catch {
            tables.withLock { $0.finish(batch, failed: true) }
            throw error
        }
        tables.withLock { $0.finish(batch, failed: false) }
    }
}
