import BlockGraph
import Glibc
import IOLoop

extension IOInvocation {
    /// `flush`: makes everything written durable. A failure is silent, as it is in `qemu-io`.
    func flush() async -> IOCommandStatus {
        do throws(Errno) {
            try await backend.flush()
            return .success
        } catch {
            return .failure
        }
    }

    /// `aio_flush`: waits for the asynchronous requests, of other interpreters of the group too.
    func flushAsynchronous() async -> IOCommandStatus {
        await interpreter.flushed.waitUntilEmpty()
        return .success
    }

    /// `sleep`: waits for a number of milliseconds. One that is beyond the clock's range does not wait.
    func sleep() async -> IOCommandStatus {
        let text = arguments[0]
        guard let milliseconds = parseCInteger(text), milliseconds >= 0 else {
            return fail("\(text) is not a valid number")
        }
        let (nanoseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return .success }
        do throws(Errno) {
            try await IOLoop.sleep(for: .nanoseconds(nanoseconds))
            return .success
        } catch {
            return .failure  // The task was cancelled.
        }
    }

    /// `truncate`: changes the length of the node.
    func truncate() async -> IOCommandStatus {
        var scanner = scanner("m:")
        var preallocation = Preallocation.off
        do {
            while let option = try scanner.next() {
                guard let mode = Preallocation(rawValue: option.argument) else {
                    return report("Invalid preallocation mode '\(option.argument)'")
                }
                preallocation = mode
            }
        } catch {
            return fail(.usage(error.description))
        }
        let length: Int64
        do {
            length = try ByteCount.parse(scanner.operands.first ?? "")
        } catch {
            // It is the first word that `qemu-io` names here, be it an option or the number.
            return fail("\(error.description) -- \(scanner.firstWord ?? "")")
        }
        do {
            try await resize(to: length, preallocation)
            return .success
        } catch {
            return report(error.description)
        }
    }

    @GraphActor
    private func resize(to length: Int64, _ preallocation: Preallocation) async throws(BlockError) {
        let node = backend.node
        try await backend.graph.drained([node]) { () async throws(BlockError) in
            try await node.resize(to: length, exact: false, preallocation: preallocation)
        }
    }

    /// `sigraise`: sends the process a signal.
    func raiseSignal() -> IOCommandStatus {
        do {
            let number = try Self.bytes(arguments[0])
            return sendSignal(number)
        } catch {
            return fail(error)
        }
    }

    /// `abort`: ends the process with SIGABRT.
    func abort() -> IOCommandStatus { sendSignal(Int64(SIGABRT)) }

    private func sendSignal(_ number: Int64) -> IOCommandStatus {
        guard let hook = interpreter.hooks.raiseSignal else { return report("Operation not supported") }
        guard let number = Int32(exactly: number) else { return report("Invalid argument") }
        hook(number)
        return .success
    }

    /// The commands of zoned devices, of which there are none. Those that act on a range look at it first.
    func zoned(_ action: String, checksRange: Bool = false) -> IOCommandStatus {
        do {
            let numbers = try arguments.map { text throws(IOCommandFailure) in try Self.bytes(text) }
            if checksRange { _ = try range(numbers[0], numbers[1]) }
        } catch let failure as IOCommandFailure {
            return fail(failure)
        } catch {
            return fail("zone \(action) failed: \(error)")
        }
        return fail("zone \(action) failed: \(Errno.ENOTSUP)")
    }
}
