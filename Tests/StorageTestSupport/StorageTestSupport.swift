// Helpers shared by the test targets.
import Glibc
import IOLoop
import Synchronization

/// The loop that `onLoop` uses, and `IOLoop.main`, both running.
private let shared: IOLoop = {
    do {
        let loop = try IOLoop(name: "tests")
        loop.start()
        IOLoop.main.start()
        return loop
    } catch {
        fatalError("cannot set up io_uring: \(error)")
    }
}()

/// Runs `body` on a shared I/O loop, with `IOLoop.main` (and so `GraphActor`) running too. Returns or throws what
/// `body` does; a cancellation of the caller reaches `body`.
public func onLoop<Value: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () async throws(Failure) -> Value
) async throws(Failure) -> Value {
    try await on(shared, body)
}

/// Runs `body` on `loop`, which runs or will.
public func on<Value: Sendable, Failure: Error>(
    _ loop: IOLoop, _ body: @escaping @Sendable () async throws(Failure) -> Value
) async throws(Failure) -> Value {
    let task = Task(executorPreference: loop) { () async -> Result<Value, Failure> in
        do throws(Failure) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
    let result = await withTaskCancellationHandler {
        await task.value
    } onCancel: {
        task.cancel()
    }
    return try result.get()
}

/// Runs `body` on a loop of its own, whose thread has ended on return.
public func withLoop<Value: Sendable>(
    _ name: String = "test", _ body: @escaping @Sendable (IOLoop) async throws -> Value
) async throws -> Value {
    let loop = try IOLoop(name: name)
    loop.start()
    defer {
        loop.stop()
        loop.join()
    }
    return try await on(loop) { () async throws(any Error) -> Value in try await body(loop) }
}

/// Starts `IOLoop.main` on a background thread, once, for tests of `@GraphActor` code.
public func startMainLoop() { IOLoop.main.start() }

/// The number of open file descriptors of the process.
public func openFileDescriptorCount() -> Int {
    guard let directory = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    // Without ".", ".." and the directory itself.
    return count - 3
}
