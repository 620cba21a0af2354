/// The control plane: everything that changes the block graph is isolated to it and runs on `IOLoop.main`.
@globalActor
public actor GraphActor {
    /// The one instance.
    public static let shared = GraphActor()

    /// The main loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { IOLoop.main.asUnownedSerialExecutor() }
}

extension GraphActor {
    /// Runs the body, which is isolated to the control plane, from code that the compiler cannot know to run there.
    ///
    /// The caller must run on the control plane: anything else is a programming error, which ends the process.
    public static func assumeIsolated<Value: Sendable>(_ body: @GraphActor () -> Value) -> Value {
        shared.preconditionIsolated()
        // The check above makes sure of what the type of the closure says; only the type is changed.
        return withoutActuallyEscaping(body) { unsafeBitCast($0, to: (() -> Value).self)() }
    }
}

extension GraphActor {
    /// Starts a task on the control plane that stays on the main loop in all that it calls.
    ///
    /// A plain `Task` would go through the threads of the global executor whenever a function without isolation comes back
    /// from waiting: only the preference tells the runtime where such code belongs.
    @discardableResult
    public static func spawn<Success: Sendable>(
        _ body: @escaping @GraphActor @Sendable () async -> Success
    ) -> Task<Success, Never> {
        Task(executorPreference: IOLoop.main) { await body() }
    }
}
