/// The control plane: everything that changes the block graph is isolated to it and runs on `IOLoop.main`.
@globalActor
public actor GraphActor {
    /// The one instance.
    public static let shared = GraphActor()

    /// The main loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { IOLoop.main.asUnownedSerialExecutor() }
}
