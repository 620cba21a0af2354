import CLiburing
import Glibc
import NBDProtocol

/// What requests look like.
struct RequestShape {
    let isWrite: Bool
    /// Bytes of a request, from one step to the next, and from a step's beginning to the request's.
    let blockSize: Int, step: Int, offset: Int
    /// Requests in flight on a connection.
    let depth: Int
}

/// One connection: requests that wait to be sent together, and the parser of replies.
///
/// The payload of replies is taken into one small buffer and dropped: what a client does with data is not measured.
final class LoadConnection {
    let socket: Int32
    private let shape: RequestShape
    /// Places that no request in flight holds; a place is a request's cookie.
    private(set) var free: [Int]
    /// When the request in a place began, in nanoseconds.
    private var beginnings: [UInt64]

    /// Requests that no message holds yet: their places and steps.
    private var waiting: [(place: Int, step: UInt64)] = []
    private var headers: UnsafeMutableRawPointer
    private var payload: UnsafeMutableRawPointer
    private var vectors: UnsafeMutablePointer<iovec>
    private let message: UnsafeMutablePointer<msghdr>
    private var messageBytes = 0
    private(set) var isSending = false

    static let receiveCapacity = 256 << 10
    private let received: UnsafeMutableRawPointer
    private var receivedCount = 0
    private var payloadLeft = 0
    private static let maximumBatch = 512

    init(socket: Int32, shape: RequestShape, generator: inout SplitMix) {
        self.socket = socket
        self.shape = shape
        free = Array((0..<shape.depth).reversed())
        beginnings = Array(repeating: 0, count: shape.depth)
        let batch = min(shape.depth, LoadConnection.maximumBatch)
        headers = .allocate(byteCount: batch * NBD.compactRequestSize, alignment: 8)
        vectors = .allocate(capacity: 2 * batch)
        message = .allocate(capacity: 1)
        message.initialize(to: msghdr())
        received = .allocate(byteCount: LoadConnection.receiveCapacity, alignment: 4096)
        let bytes = shape.isWrite ? shape.depth * shape.blockSize : 0
        payload = .allocate(byteCount: (bytes + 7) & ~7, alignment: 4096)
        for index in 0..<(bytes + 7) / 8 {
            payload.storeBytes(of: generator.next(), toByteOffset: index * 8, as: UInt64.self)
        }
    }

    /// Whether requests are in flight or wait.
    var isBusy: Bool { free.count < shape.depth }

    /// Begins a request at a time in nanoseconds; there must be a free place.
    func begin(step: UInt64, now: UInt64) {
        guard let place = free.popLast() else { return }
        beginnings[place] = now
        waiting.append((place, step))
    }

    // MARK: Sending

    /// Puts the waiting requests into one message; nil if there are none or a message is on its way.
    func nextMessage() -> UnsafeMutablePointer<msghdr>? {
        guard !isSending, !waiting.isEmpty else { return nil }
        isSending = true
        let batch = waiting.prefix(LoadConnection.maximumBatch)
        messageBytes = 0
        for (index, request) in batch.enumerated() {
            let header = headers + index * NBD.compactRequestSize
            encode(request, at: header)
            messageBytes += NBD.compactRequestSize
            guard shape.isWrite else { continue }
            vectors[2 * index] = iovec(iov_base: header, iov_len: NBD.compactRequestSize)
            vectors[2 * index + 1] = iovec(
                iov_base: payload + request.place * shape.blockSize, iov_len: shape.blockSize)
            messageBytes += shape.blockSize
        }
        if !shape.isWrite { vectors[0] = iovec(iov_base: headers, iov_len: messageBytes) }
        message.pointee.msg_iov = vectors
        message.pointee.msg_iovlen = shape.isWrite ? 2 * batch.count : 1
        waiting.removeFirst(batch.count)
        return message
    }

    private func encode(_ request: (place: Int, step: UInt64), at header: UnsafeMutableRawPointer) {
        let command = shape.isWrite ? NBDCommand.write : .read
        header.storeBytes(of: NBD.requestMagic.bigEndian, as: UInt32.self)
        header.storeBytes(of: UInt16(0), toByteOffset: 4, as: UInt16.self)
        header.storeBytes(of: command.rawValue.bigEndian, toByteOffset: 6, as: UInt16.self)
        header.storeBytes(of: UInt64(request.place), toByteOffset: 8, as: UInt64.self)
        let position = request.step * UInt64(shape.step) + UInt64(shape.offset)
        header.storeBytes(of: position.bigEndian, toByteOffset: 16, as: UInt64.self)
        header.storeBytes(of: UInt32(shape.blockSize).bigEndian, toByteOffset: 24, as: UInt32.self)
    }

    /// Tells the server that the client goes; there must be no request in flight.
    func disconnect() {
        headers.initializeMemory(as: UInt8.self, repeating: 0, count: NBD.compactRequestSize)
        headers.storeBytes(of: NBD.requestMagic.bigEndian, as: UInt32.self)
        headers.storeBytes(of: NBDCommand.disconnect.rawValue.bigEndian, toByteOffset: 6, as: UInt16.self)
        _ = Glibc.send(socket, headers, NBD.compactRequestSize, Int32(MSG_NOSIGNAL))
        close(socket)
    }

    /// Takes note of what became of the message.
    func sent(_ result: Int32) throws(LoadFailure) {
        isSending = false
        guard Int(result) == messageBytes else { throw LoadFailure("sending: \(result) of \(messageBytes) bytes") }
    }

    // MARK: Receiving

    /// Where the next bytes go.
    var receiveSpace: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: received + receivedCount, count: LoadConnection.receiveCapacity - receivedCount)
    }

    /// Reads the replies among the bytes that came; `ended` gets the beginning of each request that a reply ends.
    func received(_ result: Int32, ended: (UInt64) -> Void) throws(LoadFailure) {
        guard result > 0 else {
            throw LoadFailure(result == 0 ? "the server closed the connection" : "receiving: \(result)")
        }
        receivedCount += Int(result)
        var position = 0
        while true {
            let skipped = min(payloadLeft, receivedCount - position)
            position += skipped
            payloadLeft -= skipped
            guard payloadLeft == 0, receivedCount - position >= NBD.simpleReplySize else { break }
            let place = try decode(received + position)
            position += NBD.simpleReplySize
            if !shape.isWrite { payloadLeft = shape.blockSize }
            ended(beginnings[place])
            free.append(place)
        }
        receivedCount -= position
        if receivedCount > 0 { received.copyMemory(from: received + position, byteCount: receivedCount) }
    }

    /// The place of the request that a reply answers.
    private func decode(_ header: UnsafeMutableRawPointer) throws(LoadFailure) -> Int {
        let place = header.load(fromByteOffset: 0, as: SimpleReply.self)
        guard UInt32(bigEndian: place.magic) == NBD.simpleReplyMagic, place.cookie < UInt64(shape.depth) else {
            throw LoadFailure("a reply is broken")
        }
        guard place.error == 0 else { throw LoadFailure("a request failed: error \(UInt32(bigEndian: place.error))") }
        return Int(place.cookie)
    }
}

/// A simple reply as it comes. Spec: nbd-protocol.md, "Simple reply message".
struct SimpleReply {
    let magic: UInt32
    let error: UInt32
    let cookie: UInt64
}
