import BlockGraph
import IOLoop
import NBDProtocol

extension NBDConnection {
    /// Most queries of a node for one request; what is not covered then, the client asks for next.
    private static let maximumQueries = 131_072

    /// Answers a block status request: one chunk for each context.
    func blockStatus(_ incoming: NBDIncoming) async throws(Errno) {
        let request = incoming.request
        let lists = try await extents(request, incoming.contexts)
        var buffers: [IOBuffer] = []
        for (index, (context, list)) in zip(incoming.contexts, lists).enumerated() {
            let buffer = BufferPool.shared.take(count: encoder.size(of: list.extents))
            var out = OutputRawSpan(buffer: buffer.bytes, initializedCount: 0)
            let flags: NBDReplyFlags = index == incoming.contexts.count - 1 ? .done : []
            encoder.blockStatus(request, context, list.extents, flags: flags, to: &out)
            _ = out.finalize(for: buffer.bytes)
            buffers.append(buffer)
        }
        reply(cost: incoming.cost) { batch in
            for buffer in buffers {
                batch.own(buffer)
                batch.append(payload: buffer)
            }
        }
    }

    /// The extents for each of the contexts. `EIO` if nothing at all is known of the start of the range.
    private func extents(
        _ request: NBDRequest, _ contexts: [NBDMetaContext]
    ) async throws(Errno) -> [NBDExtentList] {
        var lists = contexts.map { _ in
            var list = NBDExtentList()
            list.start(request)
            return list
        }
        let allocation = contexts.firstIndex(of: .allocation)
        let depth = contexts.firstIndex(of: .allocationDepth)
        if allocation != nil || depth != nil {
            try await queryNode(request, allocation: allocation, depth: depth, &lists)
        }
        for (index, context) in contexts.enumerated() {
            if case .dirtyBitmap(let number) = context {
                lists[index].append(export.bitmaps[number].snapshot(), request)
            }
        }
        guard lists.allSatisfy({ $0.covered > 0 }) else { throw .EIO }
        return lists
    }

    /// Fills the lists of the contexts that the node itself answers, in one pass.
    private func queryNode(
        _ request: NBDRequest, allocation: Int?, depth: Int?, _ lists: inout [NBDExtentList]
    ) async throws(Errno) {
        let end = request.range.upperBound
        var start = request.range.lowerBound
        var wantsAllocation = allocation != nil
        var wantsDepth = depth != nil
        for _ in 0..<Self.maximumQueries where start < end && (wantsAllocation || wantsDepth) && !isEnding {
            let (status, layer) = try await export.backend.blockStatusAbove(
                start..<end, precision: wantsAllocation ? .zeroes : .allocation)
            guard status.length > 0 else { break }
            let length = UInt64(status.length)
            if wantsAllocation, let allocation {
                var state: NBDAllocationState = []
                if !status.isData { state.insert(.hole) }
                if status.isZero { state.insert(.zero) }
                wantsAllocation = lists[allocation].append(length: length, status: state.rawValue)
            }
            if wantsDepth, let depth {
                wantsDepth = lists[depth].append(length: length, status: UInt32(clamping: layer))
            }
            start += status.length
        }
    }
}

extension NBDExtentList {
    /// Appends the runs of a bitmap in the range of the request; what lies beyond the bitmap is clean.
    mutating func append(_ bits: HierarchicalBitmap, _ request: NBDRequest) {
        let end = request.range.upperBound
        var start = request.range.lowerBound
        var hasRoom = true
        bits.forEachDirtyArea(in: request.range) { area in
            if area.lowerBound > start { hasRoom = append(length: UInt64(area.lowerBound - start), status: 0) }
            hasRoom = hasRoom && append(length: UInt64(area.length), status: 1)
            start = area.upperBound
            return hasRoom
        }
        if hasRoom, start < end { _ = append(length: UInt64(end - start), status: 0) }
    }
}
