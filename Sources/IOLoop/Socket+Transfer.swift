import CLiburing
import Glibc

// Bytes in and out. A peer that went away is an error (`EPIPE`, `ECONNRESET`), never a signal.
extension Socket {
    private static let limit = FileDescriptor.transferLimit

    /// Receives what is there, waiting for at least one byte.
    ///
    /// - Returns: bytes received into the start of `buffer`, 0 when the peer has ended its direction.
    ///
    /// Throws the errors of `recv(2)` and `ECANCELED`.
    public func recv(into buffer: IOBuffer) async throws(Errno) -> Int {
        try await receive(buffer, 0)
    }

    /// Receives until `buffer` is full.
    ///
    /// - Returns: bytes received; less than the buffer's size only when the peer has ended its direction.
    ///
    /// Throws the errors of `recv(2)` and `ECANCELED`; bytes received before that are lost.
    public func recvFully(into buffer: IOBuffer) async throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let count = try await receive(done == 0 ? buffer : buffer[done...], Int32(MSG_WAITALL))
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Sends from the start of `buffer` as much as the socket takes.
    ///
    /// - Returns: bytes sent. Throws the errors of `send(2)` and `ECANCELED`.
    public func send(from buffer: IOBuffer) async throws(Errno) -> Int {
        try await transmit(buffer, 0)
    }

    /// Sends all of `buffer`. After an error it is not known how much went out, and the connection is of no more use.
    ///
    /// Throws the errors of `send(2)` and `ECANCELED`.
    public func sendFully(from buffer: IOBuffer) async throws(Errno) {
        var done = 0
        while done < buffer.count {
            done += try await transmit(done == 0 ? buffer : buffer[done...], Int32(MSG_WAITALL))
        }
    }

    /// Sends all of `first` and then all of `second`, as a header and its payload, with one operation where the
    /// socket takes it. Throws as `sendFully(from:)`.
    public func sendFully(_ first: IOBuffer, _ second: IOBuffer) async throws(Errno) {
        let total = first.count + second.count
        try await sendMessage(total) { block, done in _ = block.fill(first, second, skipping: done) }
    }

    /// Sends all of `buffers`, one after the other, with few operations. Throws as `sendFully(from:)`.
    public func sendFully(_ buffers: [IOBuffer]) async throws(Errno) {
        let total = buffers.reduce(0) { $0 + $1.count }
        try await sendMessage(total) { block, done in _ = block.fill(buffers, skipping: done) }
    }

    // MARK: For tasks that are not cancelled

    /// Receives as `recv(into:)`; a cancellation of the task has no effect.
    ///
    /// - Parameter all: returns less than the buffer's size only when the peer has ended its direction, or after an interruption.
    public func recvUncancelled(into buffer: IOBuffer, all: Bool = false) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let flags = all ? Int32(MSG_WAITALL) : 0
        while true {
            let result = await loop.performWithPeer { entry in
                io_uring_prep_recv(entry, number, buffer.base, min(buffer.count, Socket.limit), flags)
            }
            if result < 0, try await mustRetry(result, .readable) { continue }
            return try Errno.check(result)
        }
    }

    /// Sends of `buffers`, one after the other, what the socket takes at once, of the first 64 that are not empty, with a plain
    /// system call. On a loop's thread.
    ///
    /// - Returns: bytes sent, 0 where it takes none now. Throws the errors of `sendmsg(2)` but `EAGAIN` and `EINTR`.
    public func sendNow(_ buffers: [IOBuffer]) throws(Errno) -> Int {
        let loop = IOLoop.required
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        _ = block.fill(buffers, skipping: 0)
        let sent = Glibc.sendmsg(number, block.header, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        if sent >= 0 { return sent }
        let error = Errno.current
        if error == .EAGAIN || error == .EINTR { return 0 }
        throw error
    }

    /// Sends all of `buffers` but the first `sent` bytes. Throws as `sendFully(from:)`.
    public func sendRest(of buffers: [IOBuffer], after sent: Int) async throws(Errno) {
        let loop = IOLoop.required
        let total = buffers.reduce(0) { $0 + $1.count }
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        var done = sent
        while done < total {
            _ = block.fill(buffers, skipping: done)
            let result = await loop.performWithPeer { entry in
                io_uring_prep_sendmsg(entry, number, block.header, UInt32(MSG_NOSIGNAL | MSG_WAITALL))
            }
            if result < 0, try await mustRetry(result, .writable) { continue }
            done += try Errno.check(result)
        }
    }

    // MARK: Implementation

    private func receive(_ buffer: IOBuffer, _ flags: Int32) async throws(Errno) -> Int {
        let loop = IOLoop.required
        while true {
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_recv(entry, number, buffer.base, min(buffer.count, Socket.limit), flags)
            }
            if result < 0, try await mustRetry(result, .readable) { continue }
            return try Errno.check(result)
        }
    }

    private func transmit(_ buffer: IOBuffer, _ flags: Int32) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let noSignal = Int32(MSG_NOSIGNAL)
        while true {
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_send(entry, number, buffer.base, min(buffer.count, Socket.limit), flags | noSignal)
            }
            if result < 0, try await mustRetry(result, .writable) { continue }
            return try Errno.check(result)
        }
    }

    private func sendMessage(_ total: Int, _ fill: (MessagePool.Block, Int) -> Void) async throws(Errno) {
        let loop = IOLoop.required
        let flags = UInt32(MSG_NOSIGNAL | MSG_WAITALL)
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        var done = 0
        while done < total {
            fill(block, done)
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_sendmsg(entry, number, block.header, flags)
            }
            if result < 0, try await mustRetry(result, .writable) { continue }
            done += try Errno.check(result)
        }
    }
}
