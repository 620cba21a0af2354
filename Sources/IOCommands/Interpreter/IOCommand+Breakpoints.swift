import BlockGraph
import IOLoop

extension IOInvocation {
    /// `break`: the next request that causes an event is suspended under a tag.
    func setBreakpoint() async -> IOCommandStatus {
        guard let sink = await debugEventSink() else {
            return fail("Could not set breakpoint: \(Errno.ENOTSUP)")
        }
        guard sink.setBreakpoint(DebugEvent(rawValue: arguments[0]), tag: arguments[1]) else {
            return fail("Could not set breakpoint: \(Errno.ENOENT)")
        }
        interpreter.breakpoints.didSet(arguments[1])
        return .success
    }

    /// `remove_break`: takes breakpoints away and resumes their requests.
    func removeBreakpoint() async -> IOCommandStatus {
        let tag = arguments[0]
        guard let sink = await debugEventSink() else {
            return fail("Could not remove breakpoint \(tag): \(Errno.ENOTSUP)")
        }
        interpreter.breakpoints.didRemove(tag)
        guard sink.removeBreakpoint(tag: tag) else {
            return fail("Could not remove breakpoint \(tag): \(Errno.ENOENT)")
        }
        return .success
    }

    /// `resume`: lets the requests suspended under a tag go on.
    func resume() async -> IOCommandStatus {
        guard let sink = await debugEventSink() else {
            return fail("Could not resume request: \(Errno.ENOTSUP)")
        }
        guard sink.resume(tag: arguments[0]) else {
            return fail("Could not resume request: \(Errno.ENOENT)")
        }
        interpreter.breakpoints.didResume(arguments[0])
        return .success
    }

    /// `wait_break`: waits until a request is suspended under a tag. `qemu-io` waits for ever where there is no `blkdebug`.
    func waitForBreakpoint() async -> IOCommandStatus {
        guard let sink = await debugEventSink() else {
            return fail("Could not wait for breakpoint \(arguments[0]): \(Errno.ENOTSUP)")
        }
        await sink.waitUntilSuspended(tag: arguments[0])
        return .success
    }

    /// The topmost node that acts on debug events, from this one down.
    @GraphActor
    private func debugEventSink() -> (any DebugEventSink)? { backend.node.nearestDebugEventSink }
}

extension BlockNode {
    /// The driver that acts on debug events, of this node or of the first below it on the way to the data.
    @GraphActor var nearestDebugEventSink: (any DebugEventSink)? {
        var node = self
        while true {
            if let sink = node.driver.debugEventSink { return sink }
            guard let next = node.children.first(where: { $0.role.contains(.primary) })?.node else { return nil }
            node = next
        }
    }
}
