import ArgumentParser
import CLiburing
import Glibc
import Synchronization

/// What a Unix socket can carry on this machine: one thread sends from memory that does not fit into a cache, another one
/// receives, and nothing else happens. The bound for every server that moves large requests.
struct SocketTransferCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "socket-transfer", abstract: "Measures a bare transfer between two threads through a Unix socket.")

    @Option(help: "Bytes of a message.")
    var blockSize = Bytes(1 << 20)

    @Option(help: "Bytes of the memory that messages are sent from.")
    var region = Bytes(256 << 20)

    @Option(help: "Ends after so many seconds.")
    var seconds = 1.0

    func validate() throws {
        guard blockSize.count > 0, region.count >= blockSize.count, seconds > 0 else {
            throw ValidationError("sizes and times must be above zero, the region no smaller than a message")
        }
    }

    func run() throws {
        var sockets: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &sockets) == 0 else {
            throw LoadFailure("socketpair")
        }
        var sender = Sender(socket: sockets[0], region: region.count, blockSize: blockSize.count)
        let start = ContinuousClock.now
        var thread = pthread_t()
        let end = start + .seconds(seconds)
        let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
            context?.load(as: Sender.self).run()
            return nil
        }
        let received = try withUnsafeMutablePointer(to: &sender) { sender in
            guard pthread_create(&thread, nil, body, sender) == 0 else { throw LoadFailure("pthread_create") }
            let received = receive(sockets[1], until: end)
            shutdown(sockets[1], Int32(SHUT_RDWR))
            pthread_join(thread, nil)
            return received
        }
        let duration = (ContinuousClock.now - start) / .seconds(1)
        let blocks = Double(received) / Double(blockSize.count)
        print("{\"requests\": \(blocks), \"seconds\": \(duration), \"iops\": \(blocks / duration)}")
    }

    /// Bytes that came until then.
    private func receive(_ socket: Int32, until end: ContinuousClock.Instant) -> Int {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: LoadConnection.receiveCapacity, alignment: 4096)
        defer { buffer.deallocate() }
        var total = 0
        while ContinuousClock.now < end {
            let count = recv(socket, buffer, LoadConnection.receiveCapacity, 0)
            guard count > 0 else { break }
            total += count
        }
        return total
    }
}

/// The sending thread of a bare transfer.
struct Sender {
    let socket: Int32
    let memory: UnsafeMutableRawBufferPointer
    let blockSize: Int

    init(socket: Int32, region: Int, blockSize: Int) {
        self.socket = socket
        self.blockSize = blockSize
        memory = .allocate(byteCount: region / blockSize * blockSize, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0x5a)
    }

    /// Sends until the other side does not listen any more.
    func run() {
        var position = 0
        while send(socket, memory.baseAddress.map { $0 + position }, blockSize, Int32(MSG_NOSIGNAL)) > 0 {
            position = (position + blockSize) % memory.count
        }
    }
}
