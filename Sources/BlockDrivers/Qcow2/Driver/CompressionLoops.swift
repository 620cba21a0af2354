import Glibc
import IOLoop
import Synchronization

/// The threads that compress and decompress, so that those of the requests go on with others meanwhile.
enum CompressionLoops {
    /// The loops, started when they are first needed; they run to the end of the process.
    private static let all: [IOLoop] = {
        let count = min(4, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let loops = (0..<count).compactMap { try? IOLoop(name: "compress-\($0)") }
        for loop in loops { loop.start() }
        return loops
    }()

    private static let turn = Atomic<Int>(0)

    /// Runs the body on one of the threads, and goes on on the caller's loop.
    static func run<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        // The system may have no room for more loops.
        guard !all.isEmpty else { return body() }
        let loop = all[turn.wrappingAdd(1, ordering: .relaxed).oldValue % all.count]
        return await withUnsafeContinuation { continuation in
            Task(executorPreference: loop) { continuation.resume(returning: body()) }
        }
    }
}
