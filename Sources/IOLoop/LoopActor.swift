/// The actor of a loop: what is isolated to it runs on the loop's thread, and comes back there from each wait in one step.
///
/// A task that only prefers the loop (`Task(executorPreference: loop)`) runs there, too, but isolated to nothing. The runtime
/// then puts it into the loop's queue three times for each wait.
public actor LoopActor {
    /// Set once, before anybody can ask.
    private nonisolated(unsafe) var executor: UnownedSerialExecutor?

    init() {}

    /// The loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        guard let executor else { preconditionFailure("the actor of a loop is used before its loop is made") }
        return executor
    }

    nonisolated func adopt(_ loop: IOLoop) { executor = loop.asUnownedSerialExecutor() }

    func run(_ body: @Sendable () async -> Void) async { await body() }
}

extension IOLoop {
    /// Starts a task on the loop that is isolated to its actor, as is what it calls. From any thread.
    public func spawn(_ body: @escaping @Sendable () async -> Void) {
        let home = home
        // The preference is for what is isolated to nothing.
        Task.detached(executorPreference: self) { await home.run(body) }
    }
}
