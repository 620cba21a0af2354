import IOLoop
import Logging
import QMPProtocol

extension Connection {
    /// Bytes to send at once.
    private static let pieceSize = 65536

    /// Whether the client wants events: it has negotiated.
    var wantsEvents: Bool { session.isNegotiated && !isOutputClosed }

    /// How many bytes wait to be sent.
    private var waitingCount: Int { output.count + sendingCount }

    /// Puts an event into the output, or drops the client when it has not read what is there.
    func send(event text: [UInt8]) {
        guard wantsEvents else { return }
        if waitingCount + text.count > QMPServer.outputLimit {
            server.logger.warning("\(name): dropped, since it does not read: \(waitingCount) bytes wait to be sent")
            return drop()
        }
        send(text)
    }

    /// Puts a reply into the output.
    func send(_ reply: Reply) { send(reply.message.wireBytes(pretty: pretty)) }

    private func send(_ text: [UInt8]) {
        guard !isOutputClosed else { return }
        output += text
        changed.notifyAll()
    }

    /// Waits until there is room for the reply to a command, or nobody to send it to.
    func waitForOutputRoom() async {
        await changed.wait(until: { waitingCount < QMPServer.outputHighWater || isOutputClosed })
    }

    /// Throws away what waits to be sent and all that would come.
    func closeOutput() {
        isOutputClosed = true
        output = []
        writer?.cancel()
        changed.notifyAll()
    }

    /// Sends what is put into the output until that is complete or closed.
    func write() async {
        await BufferPool.shared.withBuffer(count: Self.pieceSize) { buffer in
            while true {
                await changed.wait(until: { !output.isEmpty || isOutputClosed || isOutputComplete })
                if output.isEmpty || isOutputClosed { return }
                let bytes = output
                output = []
                await send(bytes, through: buffer)
            }
        }
    }

    private func send(_ bytes: [UInt8], through buffer: IOBuffer) async {
        sendingCount = bytes.count
        defer { sendingCount = 0 }
        for start in stride(from: 0, to: bytes.count, by: buffer.count) where !isOutputClosed {
            let piece = bytes[start..<min(start + buffer.count, bytes.count)]
            buffer.bytes.copyBytes(from: piece)
            do throws(Errno) {
                try await channel.send(buffer[..<piece.count])
            } catch {
                closeOutput()
            }
            sendingCount -= piece.count
            changed.notifyAll()
        }
    }
}
