// Work of the loop's own thread that ends without waiting for the kernel, and so would never let other tasks have a turn.
extension IOLoop {
    /// The most bytes that one turn copies: some 50 microseconds.
    static let copiesOfTurn = 512 << 10
    /// The most bytes of one request on a loop that has enough to do: more take so long that a worker of the kernel should copy
    /// them, on another processor, while the loop does other things.
    static let shortCopy = 32 << 10
    /// The most bytes of one request that is wanted at once.
    static let promptCopy = 64 << 10
    /// The most bytes that a loop copies which would have nothing else to do.
    static let longCopy = 256 << 10

    /// The least bytes of a read of the main loop that a worker of the kernel makes for itself.
    static let spreadCopy = 128 << 10
    /// `IOSQE_ASYNC` of io_uring(7): the ring gives the request to a worker at once, and starts one where none is free.
    static let asideFlag: UInt8 = 1 << 4

    /// Whether so many bytes are to be read by a worker of their own. Else the ring's workers take one request after the other
    /// as long as none of them sleeps. The main loop's long reads are those of jobs, which have nothing to do meanwhile but to
    /// write what they have read before; an I/O thread's are those of clients, whom the other processors have to serve.
    static func spreadsCopy(_ count: Int) -> Bool { count >= spreadCopy && main.isCurrent }

    /// Whether the bytes of a buffer may be copied on the caller's thread, now: after a wait for the loop's next turn where this one
    /// has had its share. Not so many bytes, and off the loops, not at all.
    @inline(__always)
    static func mayCopyNow(_ buffer: IOBuffer) async -> Bool {
        guard let loop = current else { return false }
        let count = buffer.count
        if buffer.urgency == .background { await loop.waitForTurn() }
        let isShort = count <= (buffer.urgency == .prompt ? promptCopy : shortCopy)
        guard isShort || loop.takeLongCopy(count) else { return false }
        if !loop.takeCopy(count) { await loop.waitToCopy(count) }
        return true
    }

    /// Whether the loop has nothing else to do: no request is with the kernel, and it had to wait for what these bytes are
    /// for. With several requests on their way, the next one comes without a wait.
    private func takeLongCopy(_ count: Int) -> Bool {
        if hasWaited {
            hasWaited = false
            longBytesToCopy = IOLoop.longCopy
        }
        guard storageOperations == 0, count <= longBytesToCopy else { return false }
        longBytesToCopy -= count
        return true
    }

    /// Counts bytes that are copied in this turn; false where they are too many for it.
    private func takeCopy(_ count: Int) -> Bool {
        guard count <= bytesToCopy else { return false }
        // A request costs something, too, however few bytes it moves.
        bytesToCopy -= count + 1024
        return true
    }

    private func waitToCopy(_ count: Int) async {
        repeat { await waitForTurn() } while !takeCopy(count)
    }

    /// Returns in the next turn, when what this one has prepared is with the kernel.
    private func waitForTurn() async {
        await withUnsafeContinuation { continuation in nextTurn.append(continuation) }
    }

    /// Begins a turn.
    func renewTurn() {
        bytesToCopy = IOLoop.copiesOfTurn
        for _ in 0..<nextTurn.count { nextTurn.popFirst()?.resume() }
    }
}
