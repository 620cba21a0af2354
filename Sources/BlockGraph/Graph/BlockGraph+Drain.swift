import IOLoop

extension BlockGraph {
    /// Runs the body while no request is under way in any of the nodes, or above or beside them: the sources that reach
    /// them are stopped, requests under way have come back, queues have been let through, background work has ended.
    public func drained<Result>(
        _ nodes: [BlockNode], _ body: () async throws(BlockError) -> Result
    ) async throws(BlockError) -> Result {
        let sources = backendsAbove(nodes)
        for source in sources { source.gate.close() }
        let roots = sources.compactMap { $0.edge?.node }
        let quieted = nodesBelow(roots + nodesAbove(nodes))
        for node in quieted { node.driverIfOpen?.drainBegin() }
        for source in sources { await source.gate.waitUntilEmpty() }
        for node in quieted { await node.driverIfOpen?.drainFinished() }
        defer {
            for node in quieted { node.driverIfOpen?.drainEnd() }
            for source in sources { source.gate.open() }
        }
        return try await body()
    }

    /// Lets all requests go on that queues hold back or breakpoints have halted, and those that come, for good: what
    /// precedes the end of all nodes, which would have to wait for those requests.
    public func letEverythingThrough() {
        for node in nodes {
            node.driverIfOpen?.drainBegin()
            node.driverIfOpen?.debugEventSink?.removeAllBreakpoints()
        }
    }
}
