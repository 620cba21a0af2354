import BlockGraph
import IOLoop
import Qcow2Format
import Synchronization

extension Qcow2Driver {
    /// Data up to this size are copied to be written together with what surrounds them.
    private static let mergeLimit: Int64 = 256 << 10
    /// More zeroes than this around the data are made by the data file.
    private static let zeroLimit: Int64 = 128 << 10

    /// Writes the first clusters of a range in one slice to new places, and points their entries there. The caller has the
    /// token of all clusters of the range. Returns how many bytes of the range are done; 0 where they need no new place.
    ///
    /// On an error the entries are as before, and nothing has been allocated.
    func writeToNewClusters(_ range: ByteRange, from buffer: IOBuffer) async throws(Errno) -> Int64 {
        let image = image
        let planner = AllocationPlanner(geometry: image.geometry)
        var (plan, hasTable) = try await image.withEntries(at: range.lowerBound) { slice in
            (planner.plan(range, slice), slice != nil)
        }
        // Tables lie in front of the data that they describe, as in images of QEMU.
        if !hasTable { try await image.changeEntries(at: range.lowerBound) { _ in } }
        let place: ByteRange
        switch plan.place {
        case .inPlace: return 0
        case .existing(let start): place = start..<start + plan.clusters.length
        case .new:
            place = try await allocate(Int(plan.clusters.length / image.geometry.clusterSize))
            plan.shorten(to: place.length)
        }
        do {
            let isPristine = claimPristine(place)
            try await writeSurrounded(plan, at: place.lowerBound, isPristine, buffer[..<Int(plan.data.length)])
            try await link(plan, planner, at: place.lowerBound)
        } catch {
            if plan.place == .new { image.abandon(place) }
            throw error
        }
        return plan.data.length
    }

    /// Allocates clusters in a row, as many as can be had up to `count`.
    private func allocate(_ count: Int) async throws(Errno) -> ByteRange {
        do {
            return try await image.allocateClusters(atMost: count)
        } catch {
            forgetPristine()
            throw error
        }
    }

    /// Points the entries of a run to where its data have been written, and gives up what they named before.
    private func link(_ plan: AllocationPlan, _ planner: AllocationPlanner, at host: Int64) async throws(Errno) {
        let image = image
        let geometry = image.geometry
        let isNew = plan.place == .new
        let former: [L2Entry]
        do {
            former = try await image.changeEntries(at: plan.clusters.lowerBound) { slice in
                var former: [L2Entry] = []
                var start = plan.clusters.lowerBound
                while start < plan.clusters.upperBound {
                    let index = slice.index(of: start)
                    let old = slice[index]
                    slice[index] = planner.entry(
                        after: old, plan.written, clusterStart: start, host: host + start - plan.clusters.lowerBound,
                        isNew: isNew)
                    if isNew, old.isCompressed || old.clusterOffset(geometry) != nil { former.append(old) }
                    start += geometry.clusterSize
                }
                return former
            }
        } catch {
            forgetPristine()
            throw error
        }
        for entry in former { release(entry) }
    }

    // MARK: Data and what surrounds them

    /// Writes the data of a run, and around them what the subclusters at its ends read as.
    ///
    /// - Parameters:
    ///   - host: the host offset of the run's first cluster.
    ///   - isPristine: whether the clusters read as zeroes.
    private func writeSurrounded(
        _ plan: AllocationPlan, at host: Int64, _ isPristine: Bool, _ buffer: IOBuffer
    ) async throws(Errno) {
        let inFile = host - plan.clusters.lowerBound
        var (head, tail) = (plan.head, plan.tail)
        if dataFile != nil {
            // The file ends with the disk.
            tail = tail.lowerBound..<max(tail.lowerBound, min(tail.upperBound, length))
        }
        let headIsZero = head.isEmpty ? true : try await isKnownZero(head)
        let tailIsZero = tail.isEmpty ? true : try await isKnownZero(tail)
        if isPristine, !head.isEmpty || !tail.isEmpty {
            if headIsZero || tailIsZero { await fire(.clusterAllocSpace) }
            if headIsZero { head = plan.data.lowerBound..<plan.data.lowerBound }
            if tailIsZero { tail = plan.data.upperBound..<plan.data.upperBound }
        }
        if head.isEmpty, tail.isEmpty {
            return try await writeInPlace(at: plan.data.lowerBound + inFile, from: buffer)
        }
        if headIsZero, tailIsZero, head.length + tail.length > Self.zeroLimit {
            await fire(.clusterAllocSpace)
            try await zero(head, inFile)
            try await zero(tail, inFile)
            return try await writeInPlace(at: plan.data.lowerBound + inFile, from: buffer)
        }
        guard plan.data.length > Self.mergeLimit else {
            return try await writeMerged(head, headIsZero, buffer, plan.data, tail, tailIsZero, isPristine, inFile)
        }
        let (start, end) = (plan.data.lowerBound, plan.data.upperBound)
        let nothing = IOBuffer(base: buffer.base, count: 0)
        try await writeMerged(head, headIsZero, nothing, start..<start, start..<start, true, isPristine, inFile)
        try await writeInPlace(at: start + inFile, from: buffer)
        try await writeMerged(end..<end, true, nothing, end..<end, tail, tailIsZero, isPristine, inFile)
    }

    /// Writes data together with what lies in front of and behind them, in one piece.
    private func writeMerged(
        _ head: ByteRange, _ headIsZero: Bool, _ buffer: IOBuffer, _ data: ByteRange, _ tail: ByteRange,
        _ tailIsZero: Bool, _ isPristine: Bool, _ inFile: Int64
    ) async throws(Errno) {
        let whole = head.lowerBound..<tail.upperBound
        guard !whole.isEmpty else { return }
        let memory = BufferPool.shared.take(count: Int(whole.length))
        defer { BufferPool.shared.give(memory) }
        let headMemory = memory[..<Int(head.length)]
        let tailMemory = memory[(memory.count - Int(tail.length))...]
        let (readsHead, readsTail) = (!head.isEmpty && !headIsZero, !tail.isEmpty && !tailIsZero)
        if readsHead || readsTail { await fire(.cowRead) }
        if readsHead, readsTail, whole.length <= image.geometry.clusterSize, data.length <= Self.mergeLimit / 4 {
            try await readFormer(whole, into: memory)
        } else {
            if readsHead { try await readFormer(head, into: headMemory) } else { headMemory.fill(0) }
            if readsTail { try await readFormer(tail, into: tailMemory) } else { tailMemory.fill(0) }
        }
        memory[Int(head.length)..<Int(head.length) + buffer.count].copy(from: buffer)
        // What is zero anyway need not take up space.
        let start = isPristine && headMemory.isZero ? headMemory.count : 0
        let end = isPristine && tailMemory.isZero ? memory.count - tailMemory.count : memory.count
        guard start < end else { return }
        await fire(.cowWrite)
        try await writeInPlace(at: whole.lowerBound + Int64(start) + inFile, from: memory[start..<end])
    }

    /// Reads guest bytes as they were before the write; zeroes behind the end of the disk.
    private func readFormer(_ range: ByteRange, into buffer: IOBuffer) async throws(Errno) {
        let inside = Int(max(0, min(range.length, length - range.lowerBound)))
        buffer[inside...].fill(0)
        guard inside > 0 else { return }
        try await readMapped(range.lowerBound..<range.lowerBound + Int64(inside), into: buffer[..<inside])
    }

    private func zero(_ range: ByteRange, _ inFile: Int64) async throws(Errno) {
        guard !range.isEmpty else { return }
        let place = range.lowerBound + inFile..<range.upperBound + inFile
        if dataFile == nil { try await image.checkOverlap(of: place) }
        try await image.dataNode.writeZeroes(place)
    }

    // MARK: Clusters that nobody has written to

    /// Notes that clusters are about to be written to; whether they read as zeroes until then, as they lie behind the end
    /// of the file, and no write to them has ever been tried.
    private func claimPristine(_ place: ByteRange) -> Bool {
        let former = touchedEnd.max(place.upperBound, ordering: .relaxed).oldValue
        return place.lowerBound >= former && place.lowerBound >= image.dataNode.length
    }

    /// After an error of the file it is not known what lies behind its end.
    func forgetPristine() { touchedEnd.store(.max, ordering: .relaxed) }
}

extension AllocationPlan {
    /// Leaves out what lies behind the first `length` bytes of the clusters.
    mutating func shorten(to length: Int64) {
        guard length < clusters.length else { return }
        let end = clusters.lowerBound + length
        clusters = clusters.lowerBound..<end
        data = data.lowerBound..<min(data.upperBound, end)
        tail = data.upperBound..<data.upperBound
    }
}
