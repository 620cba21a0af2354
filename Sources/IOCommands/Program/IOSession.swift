import BlockGraph
import IOLoop
import Synchronization

/// A program that runs commands on one image at a time: the image that is open, and its requests.
@GraphActor
public final class IOSession {
    /// Opens the image of a request as a user of its node that has no permissions yet but `write` where the request is not
    /// read-only. Errors: whatever opening says.
    public typealias Opener = @GraphActor @Sendable (IOOpenRequest) async throws(BlockError) -> BlockBackend

    /// Whether a command has failed.
    public private(set) var hasFailed = false

    private let opener: Opener
    private let hooks: IOCommandHooks
    let output: IOCommandOutput
    private let breakpoints = BreakpointLedger()
    private var interpreter: IOCommandInterpreter
    private var name = ""
    private var isOver = false

    /// A session without an image.
    ///
    /// - Parameters:
    ///   - opener: opens images.
    ///   - hooks: what commands need; `open` and `close` are the session's own.
    public init(opener: @escaping Opener, hooks: IOCommandHooks, output: IOCommandOutput) {
        self.opener = opener
        self.hooks = hooks
        self.output = output
        interpreter = IOCommandInterpreter(backend: nil, host: .program, output: output)
    }

    /// Opens an image; false where that fails, which has been reported.
    public func open(_ request: IOOpenRequest) async -> Bool {
        guard interpreter.backend == nil else {
            output.report("file open already, try 'help close'")
            return false
        }
        do {
            let backend = try await opener(request)
            switch request.cacheMode {
            case .writethrough?, .directsync?: backend.isWriteThrough = true
            default: break
            }
            name = request.path ?? ""
            use(backend)
            return true
        } catch {
            output.report(request.failure + error.description)
            return false
        }
    }

    /// Runs a line; false once the user has asked for the end.
    public func run(_ line: String) async -> Bool {
        if interpreter.backend == nil { use(nil) }
        switch await interpreter.run(line) {
        case .success: break
        case .failure: hasFailed = true
        case .quit: isOver = true
        }
        return !isOver
    }

    /// Closes the image, if one is open: asynchronous requests come back first, even those that breakpoints hold.
    public func close() async {
        guard let backend = interpreter.backend else { return }
        let (graph, requests) = (backend.graph, interpreter.outstanding)
        if requests.count > 0 {
            await Task.yield()  // Requests that have just been made get on their way.
            for node in graph.nodes { node.driver.debugEventSink?.removeAllBreakpoints() }
            await requests.waitUntilEmpty()
        }
        await flushForGood(backend)
        use(nil)
        await graph.detach(backend)
        await graph.closeAll()
    }

    /// Writes what the node holds back before it goes away. That fails in silence everywhere else, so it is said here.
    private func flushForGood(_ backend: BlockBackend) async {
        do throws(Errno) {
            try await backend.flush()
        } catch {
            output.report("Failed flush for '\(name)' during close: \(error)")
        }
    }

    /// Makes the interpreter one of the image's commands.
    private func use(_ backend: BlockBackend?) {
        var hooks = hooks
        hooks.open = { [weak self] request in
            await self?.open(request) ?? false ? .success : .failure
        }
        hooks.close = { [weak self] in
            await self?.close()
            return .success
        }
        interpreter = IOCommandInterpreter(backend: backend, host: .program, hooks: hooks, output: output)
        interpreter.breakpoints = breakpoints
    }
}
