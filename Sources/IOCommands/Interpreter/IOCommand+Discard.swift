import BlockGraph
import IOLoop

extension IOInvocation {
    /// `discard`.
    func discard() async -> IOCommandStatus {
        var options = TransferOptions()
        let range: (offset: Int64, count: Int64)
        do {
            range = try parseDiscard(&options, limit: maximumRequest)
        } catch {
            return fail(error)
        }
        return await finishDiscard(range.offset, range.count, options, verb: "discard", failure: "discard failed")
    }

    /// `aio_discard`: as `discard`, with the report printed when the request is done.
    func discardAsynchronously() -> IOCommandStatus {
        var options = TransferOptions()
        let range: (offset: Int64, count: Int64)
        do {
            range = try parseDiscard(&options, limit: .max)
        } catch {
            return fail(error)
        }
        start { [options] in
            _ = await finishDiscard(
                range.offset, range.count, options, verb: "discarded ", failure: "aio_discard failed")
        }
        return .success
    }

    private func parseDiscard(
        _ options: inout TransferOptions, limit: Int64
    ) throws(IOCommandFailure) -> (offset: Int64, count: Int64) {
        var parsed = options
        let operands = try operands("Cq") { option throws(IOCommandFailure) in try parsed.take(option) }
        options = parsed
        guard operands.count == 2 else { throw .usage(nil) }
        let offset = try Self.bytes(operands[0])
        let count = try Self.bytes(operands[1])
        guard count <= limit else { throw .message("length cannot exceed \(limit), given \(operands[1])") }
        return (offset, count)
    }

    private func finishDiscard(
        _ offset: Int64, _ count: Int64, _ options: TransferOptions, verb: String, failure: String
    ) async -> IOCommandStatus {
        let start = MonotonicTime.now
        do throws(Errno) {
            let range = try range(offset, count)
            try await backend.discard(range)
            printReport(verb, range, since: start, options)
            return .success
        } catch {
            return fail("\(failure): \(error)")
        }
    }
}
