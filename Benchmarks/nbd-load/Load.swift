import CLiburing
import Glibc

/// Connections on one io_uring, and what is measured.
///
/// A request ends for the measurement when its reply's header is there; of a read's data the last bytes may be a moment
/// later, which is the next request's loss.
final class Load {
    private let connections: [LoadConnection]
    private let shape: RequestShape
    private var positions: Positions
    private var ring = io_uring()
    private var latencies = LatencyHistogram()
    private var deadline = UInt64.max
    private var nanoseconds: UInt64 = 0

    init(sockets: [Int32], positions: Positions, shape: RequestShape) throws(LoadFailure) {
        var generator = SplitMix(state: 0)
        connections = sockets.map { LoadConnection(socket: $0, shape: shape, generator: &generator) }
        self.shape = shape
        self.positions = positions
        let flags = UInt32(IORING_SETUP_SINGLE_ISSUER) | UInt32(IORING_SETUP_DEFER_TASKRUN)
        guard io_uring_queue_init(UInt32(4 * sockets.count), &ring, flags) == 0 else {
            throw LoadFailure("no io_uring")
        }
    }

    /// Sends requests for so many seconds, or until there are no more, and waits for their replies.
    func run(seconds: Double?) throws(LoadFailure) {
        let start = Load.now()
        if let seconds { deadline = start + UInt64(seconds * 1e9) }
        for (index, connection) in connections.enumerated() {
            refill(connection, now: start)
            send(index)
            receive(index)
        }
        while connections.contains(where: { $0.isBusy }) {
            let result = io_uring_submit_and_wait(&ring, 1)
            guard result >= 0 || result == -EINTR else { throw LoadFailure("io_uring_enter: \(result)") }
            let now = Load.now()
            var tag: UInt64 = 0
            var value: Int32 = 0
            while cairn_ring_pop(&ring, &tag, &value) {
                try complete(Int(tag >> 1), isSend: tag & 1 == 1, value, now: now)
            }
        }
        nanoseconds = Load.now() - start
        for connection in connections { connection.disconnect() }
    }

    /// One line of JSON.
    func report() -> String {
        let seconds = Double(nanoseconds) / 1e9
        func microseconds(_ nanoseconds: some BinaryInteger) -> String { "\(Double(nanoseconds) / 1000)" }
        return """
            {"requests": \(latencies.count), "seconds": \(seconds), "iops": \(Double(latencies.count) / seconds), \
            "latency_us": {"mean": \(latencies.mean / 1000), "p50": \(microseconds(latencies.percentile(0.5))), \
            "p99": \(microseconds(latencies.percentile(0.99))), "p99.9": \(microseconds(latencies.percentile(0.999))), \
            "max": \(microseconds(latencies.maximum))}}
            """
    }

    private func complete(_ index: Int, isSend: Bool, _ result: Int32, now: UInt64) throws(LoadFailure) {
        let connection = connections[index]
        if isSend {
            try connection.sent(result)
        } else {
            try connection.received(result) { latencies.add(now - $0) }
            refill(connection, now: now)
            if connection.isBusy { receive(index) }
        }
        send(index)
    }

    private func refill(_ connection: LoadConnection, now: UInt64) {
        guard now < deadline else { return }
        while !connection.free.isEmpty, let step = positions.next() {
            connection.begin(step: step, now: now)
        }
    }

    private func send(_ index: Int) {
        guard let message = connections[index].nextMessage(), let entry = io_uring_get_sqe(&ring) else { return }
        io_uring_prep_sendmsg(
            entry, connections[index].socket, message, UInt32(MSG_WAITALL | MSG_NOSIGNAL))
        entry.pointee.user_data = UInt64(index) << 1 | 1
    }

    private func receive(_ index: Int) {
        let space = connections[index].receiveSpace
        guard let entry = io_uring_get_sqe(&ring) else { return }
        io_uring_prep_recv(entry, connections[index].socket, space.baseAddress, space.count, 0)
        entry.pointee.user_data = UInt64(index) << 1
    }

    /// Nanoseconds of a clock that only goes on.
    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
