import IOLoop

/// A drained section under way: no request is in any of its nodes, and none can begin.
@GraphActor
final class DrainedSection {
    let nodes: [BlockNode]
    private(set) var sources: [BlockBackend] = []

    init(_ nodes: [BlockNode]) { self.nodes = nodes }

    /// Stops a source. Its requests under way go on; `begin` is to be called when they have come back.
    func stop(_ source: BlockBackend) {
        source.gate.close()
        sources.append(source)
    }

    /// Lets the sources go on.
    func end() {
        for source in sources {
            source.gate.open()
            source.holder?.drainedSectionEnded()
        }
    }
}

extension BlockGraph {
    /// Runs the body while no request is under way in any of the nodes, or above or beside them: the sources that reach
    /// them are stopped, requests under way have come back, queues have been let through, background work has ended.
    ///
    /// Sections may be within each other. Sources that are attached in the body are stopped as well until it ends.
    public func drained<Result>(
        _ nodes: [BlockNode], _ body: () async throws(BlockError) -> Result
    ) async throws(BlockError) -> Result {
        let section = DrainedSection(nodes)
        for source in backendsAbove(nodes) { section.stop(source) }
        let sources = section.sources
        let roots = sources.compactMap { $0.edge?.node }
        let quieted = nodesBelow(roots + nodesAbove(nodes))
        for node in quieted { node.driverIfOpen?.drainBegin() }
        for source in sources { await source.gate.waitUntilEmpty() }
        for node in quieted { await node.driverIfOpen?.drainFinished() }
        for source in sources { source.holder?.drainedSectionBegan() }
        drainedSections.append(section)
        defer {
            drainedSections.removeAll { $0 === section }
            for node in quieted { node.driverIfOpen?.drainEnd() }
            section.end()
        }
        return try await body()
    }

    /// Stops a new source where it reaches nodes that are drained.
    func stopIfDrained(_ source: BlockBackend) {
        let reached = Set(nodesBelow([source.node]))
        for section in drainedSections where !reached.isDisjoint(with: section.nodes) {
            section.stop(source)
            source.holder?.drainedSectionBegan()
        }
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
