import IOLoop
import JSON
import QMPProtocol
import Testing

@testable import QMPServer

@Suite struct EventThrottleTests {
    private func time(_ milliseconds: Int) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }

    private func failure(_ node: String, _ number: Int64 = 0) -> Event {
        Event("QUORUM_REPORT_BAD", data: ["node-name": .string(node)], seconds: number, microseconds: 0)
    }

    @Test func `of the events of one second the first and the last are sent`() {
        var throttle = EventThrottle()
        #expect(throttle.add(failure("a", 1), at: time(0)) == .send)
        #expect(throttle.nextDeadline == nil)
        #expect(throttle.add(failure("a", 2), at: time(1)) == .hold)
        #expect(throttle.add(failure("a", 3), at: time(999)) == .hold)
        #expect(throttle.nextDeadline == time(1000))
        #expect(throttle.takeDue(at: time(999)) == [])
        #expect(throttle.takeDue(at: time(1000)) == [failure("a", 3)])
        #expect(throttle.nextDeadline == nil)
        #expect(throttle.add(failure("a", 4), at: time(1999)) == .hold)
        #expect(throttle.takeDue(at: time(2000)) == [failure("a", 4)])
        #expect(throttle.add(failure("a", 5), at: time(3000)) == .send)
    }

    @Test func `a held event keeps its turn when the timer is late`() {
        var throttle = EventThrottle()
        #expect(throttle.add(failure("a", 1), at: time(0)) == .send)
        #expect(throttle.add(failure("a", 2), at: time(500)) == .hold)
        #expect(throttle.add(failure("a", 3), at: time(1500)) == .hold)
        #expect(throttle.takeDue(at: time(1500)) == [failure("a", 3)])
    }

    @Test func `events about different things do not limit each other`() {
        var throttle = EventThrottle()
        for node in ["a", "b", "c"] { #expect(throttle.add(failure(node), at: time(0)) == .send) }
        for node in ["b", "a"] { #expect(throttle.add(failure(node), at: time(10)) == .hold) }
        #expect(Set(throttle.takeDue(at: time(1000))) == [failure("a"), failure("b")])
    }

    @Test func `other kinds, and errors that stop a guest, are not limited`() {
        var throttle = EventThrottle()
        let stop: JSONObject = ["action": "stop", "device": "d"]
        let report: JSONObject = ["action": "report", "device": "d"]
        for _ in 0..<3 {
            #expect(throttle.add(Event("JOB_STATUS_CHANGE", seconds: 0, microseconds: 0), at: time(0)) == .send)
            #expect(
                throttle.add(Event("BLOCK_IO_ERROR", data: stop, seconds: 0, microseconds: 0), at: time(0)) == .send)
        }
        let limited = Event("BLOCK_IO_ERROR", data: report, seconds: 0, microseconds: 0)
        #expect(throttle.add(limited, at: time(0)) == .send)
        #expect(throttle.add(limited, at: time(0)) == .hold)
    }

    @Test func `against a model that looks at all events at once`() {
        // Times are given for one subject: the ones sent are the first and then the last of each full second.
        let times = [0, 100, 250, 999, 1000, 1001, 1500, 2600, 4000, 4000]
        var throttle = EventThrottle()
        var sent: [Int64] = []
        for now in stride(from: 0, through: 6000, by: 1) {
            for event in throttle.takeDue(at: time(now)) { sent.append(event.seconds) }
            for at in times where at == now {
                let event = failure("a", Int64(at))
                if throttle.add(event, at: time(now)) == .send { sent.append(event.seconds) }
            }
        }
        #expect(sent == [0, 999, 1500, 2600, 4000, 4000])
    }
}
