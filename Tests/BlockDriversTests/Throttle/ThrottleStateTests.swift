import BlockDrivers
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

@Suite struct ThrottleStateTests {
    enum Request: Sendable {
        case read(Int64)
        case write(Int64)

        var parts: (ThrottleDirection, Int64) {
            switch self {
            case .read(let bytes): (.read, bytes)
            case .write(let bytes): (.write, bytes)
            }
        }
    }

    static func configuration(_ members: [String: Int64]) throws -> ThrottleConfiguration {
        var configuration = ThrottleConfiguration()
        for (name, value) in members { _ = try configuration.set(name, to: value) }
        try configuration.check()
        return configuration
    }

    /// How long each of the requests waits, in milliseconds, when one follows on the other.
    static func waits(_ members: [String: Int64], _ requests: [Request]) throws -> [Int] {
        var now = MonotonicTime(nanoseconds: 0)
        var state = ThrottleState(try configuration(members), now: now)
        return requests.map { request in
            let (direction, bytes) = request.parts
            let wait = state.wait(direction, now: now)
            now = now.advanced(by: .nanoseconds(wait))
            #expect(state.wait(direction, now: now) == 0)
            state.account(direction, bytes: bytes)
            return (wait + 500_000) / 1_000_000
        }
    }

    static func repeated(_ request: Request, _ count: Int) -> [Request] { Array(repeating: request, count: count) }

    /// The times are those that qemu-storage-daemon 11.1.3 takes.
    @Test func `requests wait as they do in QEMU`() throws {
        let mega: Int64 = 1 << 20
        #expect(try Self.waits(["bps-write": mega], Self.repeated(.write(256 << 10), 4)) == [0, 150, 250, 250])
        #expect(try Self.waits(["bps-write": mega], Self.repeated(.write(64 << 10), 5)) == [0, 0, 25, 63, 63])
        #expect(
            try Self.waits(["bps-write": mega], [.write(65536), .read(mega), .write(65536), .write(65536)])
                == [0, 0, 0, 25])
        #expect(try Self.waits(["iops-total": 10], Self.repeated(.read(512), 4)) == [0, 0, 100, 100])
        #expect(
            try Self.waits(
                ["iops-total": 10, "iops-size": 4096],
                [.read(512), .read(16384), .read(512), .read(6144), .read(512)]) == [0, 0, 400, 100, 150])
        #expect(
            try Self.waits(["iops-total": 10, "iops-total-max": 20], Self.repeated(.read(512), 24))
                == Array(repeating: 0, count: 21) + [100, 100, 100])
        #expect(
            try Self.waits(
                ["iops-total": 10, "iops-total-max": 20, "iops-total-max-length": 2], Self.repeated(.read(512), 8))
                == [0, 0, 0, 50, 50, 50, 50, 50])
    }

    @Test func `a burst ends when its bucket is full, and the average holds from then on`() throws {
        let waits = try Self.waits(
            ["iops-total": 10, "iops-total-max": 100, "iops-total-max-length": 3], Self.repeated(.write(1), 400))
        let burst = waits.prefix { $0 <= 10 }.count
        // 300 fit, and 10 leak away in each of the seconds that it takes.
        #expect((325...340).contains(burst))
        #expect(waits.suffix(20).allSatisfy { $0 == 100 })
    }

    @Test func `never does more pass than the limits allow`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let average = Int64.random(in: 1...1_000_000, using: &random)
            let burst = Bool.random(using: &random) ? average * Int64.random(in: 1...10, using: &random) : 0
            let length = burst > 0 ? Int64.random(in: 1...5, using: &random) : 1
            var now = MonotonicTime(nanoseconds: 0)
            let members = ["bps-total": average, "bps-total-max": burst, "bps-total-max-length": length]
            var state = ThrottleState(try Self.configuration(members), now: now)
            var passed: Int64 = 0
            let largest = max(1, average / 3)
            for _ in 0..<300 {
                now = now.advanced(by: .nanoseconds(Int.random(in: 0...30_000_000, using: &random)))
                let direction: ThrottleDirection = Bool.random(using: &random) ? .read : .write
                now = now.advanced(by: .nanoseconds(state.wait(direction, now: now)))
                let bytes = Int64.random(in: 1...largest, using: &random)
                state.account(direction, bytes: bytes)
                passed += bytes
                let seconds = Double(now.nanoseconds) / 1e9
                let room = burst > 0 ? Double(burst * length) : Double(average) / 10
                #expect(Double(passed) <= Double(average) * seconds + room + Double(largest) + 1, "seed \(seed)")
            }
        }
    }
}
