import IOLoop

/// The holder of backends that belong together, as those of a job do. It learns of drained sections.
@GraphActor
public protocol BackendHolder: AnyObject, Sendable {
    /// The name in descriptions of the graph.
    nonisolated var name: String { get }
    /// One of the backends is in a drained section: its requests have come back, and no other begins until the section ends.
    func drainedSectionBegan()
    /// A drained section of one of the backends has ended. As often as `drainedSectionBegan` was called for it.
    func drainedSectionEnded()
}
