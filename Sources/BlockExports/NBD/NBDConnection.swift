import BlockGraph
import IOLoop
import NBDProtocol

/// One client in the transmission phase.
///
/// A set of worker tasks, grown on demand, takes turns. The one that has the receiver's role takes a request and executes it. As
/// long as that waits for nothing, it goes on with the next request, and sends the replies when no request is left that is
/// there already. When it has to wait, its role goes to another worker at once, and it sends its reply when it comes to it.
/// One worker at a time sends; replies that become ready meanwhile leave together. In the steady state nothing is allocated per
/// request.
final class NBDConnection: @unchecked Sendable {
    // Unchecked: everything mutable is touched on `loop`'s thread only, where all workers run.

    /// Most requests that are received and not answered yet.
    static let maximumRequests = 128
    /// Most memory of those requests, in bytes, unless there is only one.
    static let maximumCost = 64 << 20
    /// Bytes received ahead.
    static let inputSize = 128 << 10
    /// Most replies that wait for further requests to be executed: as many as one system call can send with their data.
    private static let repliesAtOnce = 32

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

    /// Told when the receiver waits for something while it executes a request.
    private lazy var observer = JobObserver { [unowned self] in self.passReceiver() }

    // Receiving.
    var input = NBDInput(chunkSize: NBDConnection.inputSize)
    /// Whether the last payload was a long one.
    var expectsLongPayload = false
    private var outstanding = 0
    private var outstandingCost = 0
    private var roomWaiter: UnsafeContinuation<Void, Never>?

    // Sending.
    private var filling = NBDReplyBatch(capacity: NBDConnection.maximumRequests)
    private var sending = NBDReplyBatch(capacity: NBDConnection.maximumRequests)
    private var isSending = false
    /// Bytes of the batch that have been sent.
    private var sent = 0
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
    }

    /// Begins to serve; `received` are bytes that came with the last option, fewer than ``inputSize``.
    func start(with received: [UInt8]) {
        received.withUnsafeBytes { input.makeRoom(for: $0.count)[0..<$0.count].copy(from: IOBuffer($0)) }
        input.didReceive(received.count)
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
        loop.spawn { await self.work() }
    }

    /// The life of a worker, which begins as the receiver.
    private func work() async {
        var isReceiver = true
        while isReceiver {
            guard let incoming = await receive() else {
                end()
                break
            }
            isReceiver = await serve(incoming)
        }
        workers -= 1
        if workers == 0 { await finish() }
    }

    /// Executes a request, and those that follow it and are there already as long as none has to wait, and sees to it that all
    /// are answered. Whether the worker is the receiver at the end.
    private func serve(_ first: NBDIncoming) async -> Bool {
        var incoming = first
        while !incoming.endsConnection {
            loop.observeReturn(observer)
            await execute(incoming)
            guard loop.endObservation() else {
                await transmit()
                return await becomeReceiver()
            }
            if filling.count < Self.repliesAtOnce, let next = receiveNow() {
                incoming = next
                continue
            }
            if transmitNow() { return true }
            passReceiver()
            await finishTransmission()
            return await becomeReceiver()
        }
        end()
        await execute(incoming)
        await transmit()
        return false
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

    /// Accounts for one more request if there is room for it; whether there is.
    func tryReserve(_ cost: Int) -> Bool {
        guard hasRoom(for: cost) else { return false }
        outstanding += 1
        outstandingCost += cost
        return true
    }

    /// Accounts for one more request, after waiting until there is room for it.
    func reserve(_ cost: Int) async {
        while !tryReserve(cost) {
            await withUnsafeContinuation { continuation in
                if hasRoom(for: cost) {
                    continuation.resume()
                } else {
                    roomWaiter = continuation
                }
            }
        }
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
        guard !isSending, !filling.isEmpty else { return }
        isSending = true
        await gatherReplies()
        beginBatch()
        await finishTransmission()
    }

    /// Sends what is ready, unless another worker does so already, as far as the socket takes it at once. False where a part is
    /// left, with which the caller is to go on by `finishTransmission`.
    private func transmitNow() -> Bool {
        guard !isSending, !filling.isEmpty else { return true }
        beginBatch()
        if isWhole {
            endBatch()
            return true
        }
        isSending = true
        return false
    }

    /// Sends the rest of the batch, and then what has become ready meanwhile.
    private func finishTransmission() async {
        while true {
            if !isWhole { await sendRest() }
            endBatch()
            if filling.isEmpty { break }
            await gatherReplies()
            beginBatch()
        }
        isSending = false
    }

    /// Lets the other workers run as long as they add replies, so that these leave with one system call.
    private func gatherReplies() async {
        var seen = 0
        while filling.count > seen, outstanding > filling.count || input.count > 0 {
            seen = filling.count
            await loop.yield()
        }
    }

    /// Makes a batch of what is ready, and sends of it what the socket takes at once.
    private func beginBatch() {
        swap(&filling, &sending)
        sent = 0
        guard !isBroken else { return }
        do throws(Errno) {
            sent = try socket.sendNow(sending.segments)
        } catch {
            breakDown()
        }
    }

    /// Whether nothing of the batch is left to be sent.
    private var isWhole: Bool { isBroken || sent == sending.byteCount }

    private func sendRest() async {
        do throws(Errno) {
            try await socket.sendRest(of: sending.segments, after: sent)
        } catch {
            breakDown()
        }
    }

    /// The peer is out of reach. The receiver sees the end of the stream, as it may not otherwise.
    private func breakDown() {
        isBroken = true
        try? socket.shutdown(.both)
    }

    private func endBatch() {
        let (count, cost) = (sending.count, sending.cost)
        sending.reset()
        release(count: count, cost: cost)
    }
}
