extension BlockBackend {
    /// Begins a request that is made of several steps on the node itself, or on several nodes: drained sections wait for its
    /// `endRequest`. Waits while the node is in a drained section.
    ///
    /// Who is in a request waits for nothing that waits for a drained section, such as the requests of another backend.
    public func beginRequest() async { await gate.enter() }

    /// Begins such a request where the node is not in a drained section; false where it is.
    public func tryBeginRequest() -> Bool { gate.tryEnter() }

    /// Ends a request.
    public func endRequest() { gate.leave() }
}
