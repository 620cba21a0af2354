import IOLoop
import Logging
import QMPProtocol

/// One client of a monitor, from its greeting to the end of its last command.
///
/// Three tasks work on it: the reader splits what comes in into messages and queues them, the executor takes one after
/// the other, the writer sends what the others and events have put into `output`. A reply is put into the output of the
/// connection that the command came from, so no later client can get it.
@GraphActor final class Connection {
    /// Bytes to receive at once.
    static let inputSize = 16384

    let channel: Channel
    let pretty: Bool
    let server: QMPServer
    /// What log lines call the client.
    let name: String

    private(set) var session = Session()
    private var splitter = MessageSplitter()
    private var queue: [MessageSplitter.Item] = []
    private var isExecuting = false
    private var isInputEnded = false
    private var isStopping = false
    private var reader: Task<Void, Never>?
    var writer: Task<Void, Never>?

    /// What waits to be sent.
    var output: [UInt8] = []
    /// How much of what was in the output is being sent.
    var sendingCount = 0
    /// Whether nothing more is put into the output.
    var isOutputClosed = false
    /// Whether the last reply is in the output, so that the writer ends with it.
    private(set) var isOutputComplete = false

    /// Whether the client is gone.
    private(set) var hasLeft = false
    /// Whether the client is gone and all its commands have ended.
    private(set) var hasEnded = false

    /// Notified whenever anything that a task waits for has changed.
    let changed = WaitQueue()

    init(_ channel: Channel, number: Int, pretty: Bool, monitorID: String, server: QMPServer) {
        self.channel = channel
        self.pretty = pretty
        self.server = server
        name = "monitor \(monitorID), client \(number)"
    }

    /// Greets the client and begins to serve it.
    func start() {
        output += server.greeting.message.wireBytes(pretty: pretty)
        let reader = GraphActor.spawn { await self.read() }
        let writer = GraphActor.spawn { await self.write() }
        let executor = GraphActor.spawn { await self.execute() }
        self.reader = reader
        self.writer = writer
        GraphActor.spawn {
            await reader.value
            self.isInputEnded = true
            self.changed.notifyAll()
            if !self.isStopping, await self.channel.isHungUp() { self.closeOutput() }
            await writer.value
            await self.channel.close()
            self.hasLeft = true
            self.changed.notifyAll()
            await executor.value
            self.hasEnded = true
            self.changed.notifyAll()
        }
    }

    /// Waits until the client is gone.
    func waitUntilLeft() async { await changed.wait(until: { hasLeft }) }

    /// Waits until the client is gone and all its commands have ended.
    func waitUntilEnded() async { await changed.wait(until: { hasEnded }) }

    /// Does `waitUntilEnded`; throws `ECANCELED` when the task is cancelled.
    func waitUntilEndedCancellable() async throws(Errno) { try await changed.waitCancellable(until: { hasEnded }) }

    /// Makes the connection end after the command that is being executed.
    func stopReading() {
        isStopping = true
        queue = []
        reader?.cancel()
        changed.notifyAll()
    }

    /// Makes the connection end at once, whatever waits to be sent.
    func drop() {
        stopReading()
        closeOutput()
    }

    // MARK: Reading

    private func read() async {
        await BufferPool.shared.withBuffer(count: Self.inputSize) { buffer in
            while !isStopping {
                let count = (try? await channel.receive(into: buffer)) ?? 0
                if count == 0 { return }
                splitter.feed(buffer.bytes[..<count])
                while let item = splitter.next() { await take(item) }
            }
        }
    }

    /// Queues a message as soon as there is room, or executes it at once if it may overtake others.
    private func take(_ item: MessageSplitter.Item) async {
        while !isStopping {
            if session.overtakes(item) { return await answer(item) }
            let count = queue.count + (isExecuting ? 1 : 0)
            if count < session.queueLimit {
                queue.append(item)
                changed.notifyAll()
                return
            }
            await changed.wait(until: { isStopping || queue.count + (isExecuting ? 1 : 0) < session.queueLimit })
        }
    }

    // MARK: Executing

    private func execute() async {
        while true {
            await changed.wait(until: { !queue.isEmpty || isInputEnded })
            if queue.isEmpty { break }
            isExecuting = true
            await answer(queue.removeFirst())
            isExecuting = false
            changed.notifyAll()
        }
        isOutputComplete = true
        changed.notifyAll()
    }

    private func answer(_ item: MessageSplitter.Item) async {
        await waitForOutputRoom()
        switch session.begin(item) {
        case .reply(let reply): send(reply)
        case .run(let request):
            guard let result = await server.execute(request) else { return }
            send(Reply(result, id: request.id))
        }
    }
}
