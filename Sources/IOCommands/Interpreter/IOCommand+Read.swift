import BlockGraph
import IOLoop

extension IOInvocation {
    /// `read`: one range into one buffer.
    func read() async -> IOCommandStatus {
        var options = TransferOptions()
        let offset: Int64
        let count: Int64
        do {
            (offset, count) = try parseRead(&options)
        } catch {
            return fail(error)
        }
        return await finishRead(offset, count, options, failure: "read failed")
    }

    /// `readv`: as `read`, with the length given in parts.
    func readVector() async -> IOCommandStatus {
        var options = TransferOptions()
        do {
            let operands = try operands("CP:qrv") { option throws(IOCommandFailure) in try options.take(option) }
            let (offset, count) = try vector(operands)
            return await finishRead(offset, count, options, failure: "readv failed")
        } catch {
            return fail(error)
        }
    }

    /// `aio_read`: as `readv`, with the results printed when they are there.
    func readAsynchronously() -> IOCommandStatus {
        var options = TransferOptions()
        let offset: Int64
        let count: Int64
        do {
            let operands = try operands("CiP:qrv") { option throws(IOCommandFailure) in
                if option.letter == "i" { throw .message("injecting invalid read request") }
                try options.take(option)
            }
            (offset, count) = try vector(operands)
        } catch {
            return failInjected(error)
        }
        start { [options] in
            _ = await finishRead(offset, count, options, failure: "readv failed")
        }
        return .success
    }

    private func parseRead(_ options: inout TransferOptions) throws(IOCommandFailure) -> (Int64, Int64) {
        var parsed = options
        let operands = try operands("bCl:pP:qrs:v") { option throws(IOCommandFailure) in
            switch option.letter {
            case "l": parsed.verifiedCount = try Self.bytes(option.argument)
            case "s": parsed.verifiedStart = try Self.bytes(option.argument)
            default: try parsed.take(option)
            }
        }
        options = parsed
        guard operands.count == 2 else { throw .usage(nil) }
        let offset = try Self.bytes(operands[0])
        let count = try Self.bytes(operands[1])
        guard count <= maximumRequest else {
            throw .message("length cannot exceed \(maximumRequest), given \(operands[1])")
        }
        if options.pattern == nil, options.verifiedStart != nil || options.verifiedCount != nil { throw .usage(nil) }
        let start = options.verifiedStart ?? 0
        guard start <= count, options.verifiedCount ?? 0 <= count - start else {
            throw .message("pattern verification range exceeds end of read data")
        }
        try checkSectors(offset, count, options)
        if options.isVMState, options.registersBuffer {
            throw .message("I/O buffer registration is not supported when reading from vmstate")
        }
        return (offset, count)
    }

    /// Reads, verifies, dumps and reports.
    private func finishRead(
        _ offset: Int64, _ count: Int64, _ options: TransferOptions, failure: String
    ) async -> IOCommandStatus {
        let start = MonotonicTime.now
        do throws(Errno) {
            guard !options.isVMState else { throw .ENOTSUP }
            let range = try range(offset, count)
            return try await BufferPool.shared.withBuffer(count: Int(count)) { buffer async throws(Errno) in
                try await backend.read(range, into: buffer)
                let end = MonotonicTime.now
                let isAsExpected = verify(buffer, options, offset: offset)
                if !options.isQuiet {
                    if options.dumps { dump(buffer, offset: offset) }
                    let report = TransferReport(
                        verb: "read", offset: offset, count: count, nanoseconds: end.nanoseconds - start.nanoseconds)
                    print(report.text(machineReadable: options.isMachineReadable))
                }
                return isAsExpected ? .success : .failure
            }
        } catch {
            return fail("\(failure): \(error)")
        }
    }

    /// Whether the data is all of the pattern, where one is given; prints a line if not.
    private func verify(_ buffer: IOBuffer, _ options: TransferOptions, offset: Int64) -> Bool {
        guard let pattern = options.pattern else { return true }
        let start = Int(options.verifiedStart ?? 0)
        let count = options.verifiedCount.map { Int($0) } ?? (buffer.count - start)
        guard !buffer[start..<start + count].bytes.allSatisfy({ $0 == pattern }) else { return true }
        print("Pattern verification failed at offset \(offset + Int64(start)), \(count) bytes\n")
        return false
    }

    /// Prints the data a part at a time.
    private func dump(_ buffer: IOBuffer, offset: Int64) {
        let part = 16 * 4096
        for start in stride(from: 0, to: buffer.count, by: part) {
            let bytes = buffer[start..<min(start + part, buffer.count)].bytes
            print(HexDump.text(UnsafeRawBufferPointer(bytes), offset: offset + Int64(start)))
        }
    }
}

extension IOInvocation {
    /// Starts a request that goes on by itself.
    func start(_ body: @escaping @Sendable () async -> Void) {
        let outstanding = interpreter.outstanding
        outstanding.begin()
        Task(executorPreference: IOLoop.required) {
            await body()
            outstanding.end()
        }
    }

    /// As `fail`; a request that was to be invalid is no failure.
    func failInjected(_ failure: IOCommandFailure) -> IOCommandStatus {
        let status = fail(failure)
        if case .message(let line) = failure, line.hasPrefix("injecting invalid") { return .success }
        return status
    }
}
