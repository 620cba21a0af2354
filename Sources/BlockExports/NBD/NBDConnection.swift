import BlockGraph
import IOLoop
import NBDProtocol

/// One client in the transmission phase.
///
/// A set of worker tasks, grown on demand, takes turns: the one that has the receiver's role reads a request, hands the
/// role on, executes the request, and puts the reply into the batch that goes out next. One worker at a time sends;
/// replies that become ready meanwhile leave together. In the steady state nothing is allocated per request.
final class NBDConnection: @unchecked Sendable {
    // Unchecked: everything mutable is touched on `loop`'s thread only, where all workers run.

    /// Most requests that are received and not answered yet.
    static let maximumRequests = 128
    /// Most memory of those requests, in bytes, unless there is only one.
    static let maximumCost = 64 << 20
    /// Bytes received ahead.
    static let inputSize = 64 << 10

    let socket: Socket
    let session: NBDSession
    let export: NBDExport
    let loop: IOLoop
    let encoder: NBDReplyEncoder
    private let onEnd: @GraphActor (NBDConnection) -> Void

    // Workers.
    private var workers = 0
    private var hasReceiver = false
    private var idle: [UnsafeContinuation<Void, Never>] = []
    /// No further request is received.
    private(set) var isEnding = false

    // Receiving.
    let input: IOBuffer
    var inputStart = 0
    var inputEnd = 0
    private var outstanding = 0
    private var outstandingCost = 0
    private var roomWaiter: UnsafeContinuation<Void, Never>?

    // Sending.
    private var filling = NBDReplyBatch(capacity: NBDConnection.maximumRequests)
    private var sending = NBDReplyBatch(capacity: NBDConnection.maximumRequests)
    private var isSending = false
    /// The peer cannot be reached any more: replies are dropped.
    private var isBroken = false

    /// A connection that ``start(with:)`` brings to life; `onEnd` is called once when it is over, and closes the
    /// socket: on the `GraphActor`, so that ``disconnect()`` cannot hit another file with the same number.
    init(
        socket: Socket, session: NBDSession, export: NBDExport, loop: IOLoop,
        onEnd: @escaping @GraphActor (NBDConnection) -> Void
    ) {
        self.socket = socket
        self.session = session
        self.export = export
        self.loop = loop
        self.onEnd = onEnd
        encoder = NBDReplyEncoder(headers: session.headers)
        input = BufferPool.shared.take(count: NBDConnection.inputSize)
    }

    deinit {
        BufferPool.shared.give(input)
    }

    /// Begins to serve; `received` are bytes that came with the last option, fewer than ``inputSize``.
    func start(with received: [UInt8]) {
        received.withUnsafeBytes { input[0..<$0.count].copy(from: IOBuffer($0)) }
        inputEnd = received.count
        hasReceiver = true
        workers = 1
        startWorker()
    }

    /// Ends the connection from outside: requests under way finish, unsent replies are dropped.
    @GraphActor func disconnect() {
        // An error says that the peer has gone already.
        try? socket.shutdown(.both)
    }

    // MARK: Workers

    private func startWorker() {
        Task.detached(executorPreference: loop) { await self.work() }
    }

    /// The life of a worker, which begins as the receiver.
    private func work() async {
        var isReceiver = true
        while isReceiver {
            guard let incoming = await receive() else {
                end()
                break
            }
            if incoming.endsConnection { end() } else { passReceiver() }
            await execute(incoming)
            await transmit()
            isReceiver = await becomeReceiver()
        }
        workers -= 1
        if workers == 0 { await finish() }
    }

    /// Waits for the receiver's role; false if the connection ends instead.
    private func becomeReceiver() async -> Bool {
        // All is decided in the closure: other workers may run between the call and it.
        await withUnsafeContinuation { continuation in
            if hasReceiver, !isEnding {
                idle.append(continuation)
            } else {
                hasReceiver = true
                continuation.resume()
            }
        }
        return !isEnding
    }

    /// Hands the receiver's role on: to the worker that became idle last, or to a new one.
    private func passReceiver() {
        if let next = idle.popLast() {
            next.resume()
        } else if workers < NBDConnection.maximumRequests {
            workers += 1
            startWorker()
        } else {
            hasReceiver = false
        }
    }

    /// Stops receiving. Requests under way are finished and answered.
    private func end() {
        isEnding = true
        for worker in idle { worker.resume() }
        idle.removeAll()
    }

    private func finish() async {
        await onEnd(self)
    }

    // MARK: Room

    /// Accounts for one more request, after waiting until there is room for it.
    func reserve(_ cost: Int) async {
        while !hasRoom(for: cost) {
            await withUnsafeContinuation { continuation in
                if hasRoom(for: cost) {
                    continuation.resume()
                } else {
                    roomWaiter = continuation
                }
            }
        }
        outstanding += 1
        outstandingCost += cost
    }

    private func hasRoom(for cost: Int) -> Bool {
        guard outstanding > 0 else { return true }
        return outstanding < NBDConnection.maximumRequests && outstandingCost + cost <= NBDConnection.maximumCost
    }

    /// Accounts for the end of requests that get no reply any more, or have got it.
    func release(count: Int, cost: Int) {
        outstanding -= count
        outstandingCost -= cost
        if let waiter = roomWaiter {
            roomWaiter = nil
            waiter.resume()
        }
    }

    // MARK: Sending

    /// Adds one whole reply, which `fill` appends, to what goes out next.
    func reply(cost: Int, _ fill: (NBDReplyBatch) -> Void) {
        fill(filling)
        filling.endReply(cost: cost)
    }

    /// Sends what is ready, unless another worker does so already.
    private func transmit() async {
        guard !isSending else { return }
        isSending = true
        while !filling.isEmpty {
            await gatherReplies()
            swap(&filling, &sending)
            if !isBroken { await sendBatch() }
            let (count, cost) = (sending.count, sending.cost)
            sending.reset()
            release(count: count, cost: cost)
        }
        isSending = false
    }

    /// Lets the other workers run as long as they add replies, so that these leave with one system call.
    private func gatherReplies() async {
        var seen = 0
        while filling.count > seen, outstanding > filling.count || inputEnd > inputStart {
            seen = filling.count
            await Task.yield()
        }
    }

    private func sendBatch() async {
        do {
            try await socket.sendFully(sending.segments)
        } catch {
            isBroken = true
            // The receiver sees the end of the stream, as it may not otherwise.
            try? socket.shutdown(.both)
        }
    }
}
