import BlockGraph
import BlockJobs
import StorageTestSupport
import Testing

@Suite struct JobStateTests {
    private func state(_ path: [JobStatus]) -> JobState {
        var state = JobState(id: "j")
        for status in path { state.move(to: status) }
        return state
    }

    /// A way to each state.
    private static let paths: [JobStatus: [JobStatus]] = [
        .created: [.created], .running: [.created, .running], .paused: [.created, .running, .paused],
        .ready: [.created, .running, .ready], .standby: [.created, .running, .ready, .standby],
        .waiting: [.created, .running, .waiting], .pending: [.created, .running, .waiting, .pending],
        .aborting: [.created, .running, .aborting], .concluded: [.created, .running, .aborting, .concluded],
    ]

    @Test func `each state takes the verbs of QMP, and refuses others in its words`() throws {
        let accepted: [JobVerb: Set<JobStatus>] = [
            .cancel: [.created, .running, .paused, .ready, .standby, .waiting, .pending],
            .pause: [.created, .running, .paused, .ready, .standby],
            .resume: [.created, .running, .paused, .ready, .standby],
            .setSpeed: [.created, .running, .paused, .ready, .standby], .complete: [.ready, .standby],
            .change: [.created, .running, .paused, .ready, .standby], .finalize: [.pending], .dismiss: [.concluded],
        ]
        for (status, path) in Self.paths {
            let state = state(path)
            for verb in JobVerb.allCases {
                if try #require(accepted[verb]).contains(status) {
                    #expect(throws: Never.self) { try state.check(verb) }
                } else {
                    let text = "Job 'j' in state '\(status.rawValue)' cannot accept command verb '\(verb.rawValue)'"
                    #expect(throws: BlockError(text)) { try state.check(verb) }
                }
            }
        }
    }

    @Test func `a client pauses once and resumes once`() throws {
        var state = state([.created, .running])
        #expect(throws: BlockError("Can't resume a job that was not paused")) { try state.userResume() }
        try state.userPause()
        #expect(state.mustPause)
        #expect(throws: BlockError("Job is already paused")) { try state.userPause() }
        try state.userResume()
        #expect(!state.mustPause)
    }

    @Test func `the daemon's reasons to pause add to the client's`() throws {
        var state = state([.created, .running])
        state.changePauseCount(by: 1)
        try state.userPause()
        try state.userResume()
        #expect(state.mustPause)
        state.changePauseCount(by: -1)
        #expect(!state.mustPause)
    }

    @Test func `cancelling lets a paused job go on to its end`() throws {
        var state = state([.created, .running])
        try state.userPause()
        state.cancel()
        #expect(!state.mustPause && !state.isUserPaused && state.pauseCount == 0)
    }

    @Test func `every state but the last leads to the end`() {
        for status in JobStatus.allCases where status != .null {
            var reached: Set<JobStatus> = [status]
            while true {
                let next = reached.union(reached.flatMap(\.successors))
                if next == reached { break }
                reached = next
            }
            #expect(reached.contains(.null), "\(status)")
        }
    }
}
