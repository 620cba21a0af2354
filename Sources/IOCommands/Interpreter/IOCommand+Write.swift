import BlockGraph
import IOLoop

extension IOInvocation {
    /// The byte that is written where no pattern is given.
    private static let defaultPattern: UInt8 = 0xCD

    /// `write`: one range from one buffer, or of zeroes.
    func write() async -> IOCommandStatus {
        var options = TransferOptions()
        let offset: Int64
        let count: Int64
        do {
            (offset, count) = try parseWrite(&options)
        } catch {
            return fail(error)
        }
        return await finishWrite(offset, count, options, failure: "write failed")
    }

    /// `writev`: as `write`, with the length given in parts.
    func writeVector() async -> IOCommandStatus {
        var options = TransferOptions()
        do {
            let operands = try operands("CfP:qr") { option throws(IOCommandFailure) in try options.take(option) }
            let (offset, count) = try vector(operands)
            return await finishWrite(offset, count, options, failure: "writev failed")
        } catch {
            return fail(error)
        }
    }

    /// `aio_write`: as `writev`, with the report printed when the request is done.
    func writeAsynchronously() -> IOCommandStatus {
        var options = TransferOptions()
        let offset: Int64
        let count: Int64
        do {
            let operands = try operands("CfiP:qruz") { option throws(IOCommandFailure) in
                if option.letter == "i" { throw .message("injecting invalid write request") }
                try options.take(option)
            }
            (offset, count) = try parseAsynchronousWrite(operands, options)
        } catch {
            return failInjected(error)
        }
        start { [options] in
            _ = await finishWrite(offset, count, options, failure: "aio_write failed")
        }
        return .success
    }

    private func parseAsynchronousWrite(
        _ operands: [String], _ options: TransferOptions
    ) throws(IOCommandFailure) -> (offset: Int64, count: Int64) {
        guard operands.count >= 2 else { throw .usage(nil) }
        if options.isZero {
            guard operands.count == 2 else { throw .message("-z supports only a single length parameter") }
            guard !options.registersBuffer else {
                throw .message("cannot combine zero write with registered I/O buffer")
            }
        }
        guard options.isZero || !options.flags.contains(.mayUnmap) else {
            throw .message("-u requires -z to be specified")
        }
        guard options.isZero else { return try vector(operands) }
        return (try Self.bytes(operands[0]), try Self.bytes(operands[1]))
    }

    private func parseWrite(_ options: inout TransferOptions) throws(IOCommandFailure) -> (Int64, Int64) {
        var parsed = options
        let operands = try operands("bcCfnpP:qrs:uz") { option throws(IOCommandFailure) in
            if option.letter == "s" { parsed.sourceFile = option.argument } else { try parsed.take(option) }
        }
        options = parsed
        guard operands.count == 2 else { throw .usage(nil) }
        try checkCombination(options)
        let offset = try Self.bytes(operands[0])
        let count = try Self.bytes(operands[1])
        guard count <= maximumRequest || options.flags.contains(.noFallback) else {
            throw .message("length cannot exceed \(maximumRequest) without -n, given \(operands[1])")
        }
        try checkSectors(offset, count, options)
        if options.isZero, options.registersBuffer {
            throw .message("cannot combine zero write with registered I/O buffer")
        }
        return (offset, count)
    }

    private func checkCombination(_ options: TransferOptions) throws(IOCommandFailure) {
        let flags = options.flags
        if options.isVMState, options.isZero { throw .message("-b and -z cannot be specified at the same time") }
        if flags.contains(.forceUnitAccess), options.isVMState || flags.contains(.compressed) {
            throw .message("-f and -b or -c cannot be specified at the same time")
        }
        if flags.contains(.noFallback), !options.isZero { throw .message("-n requires -z to be specified") }
        if flags.contains(.mayUnmap), !options.isZero { throw .message("-u requires -z to be specified") }
        let sources = [options.isZero, options.pattern != nil, options.sourceFile != nil]
        if sources.count(where: { $0 }) > 1 {
            throw .message("Only one of -z, -P, and -s can be specified at the same time")
        }
    }

    /// Writes and reports.
    private func finishWrite(
        _ offset: Int64, _ count: Int64, _ options: TransferOptions, failure: String
    ) async -> IOCommandStatus {
        let start = MonotonicTime.now
        do throws(Errno) {
            if options.isVMState { throw .ENOTSUP }
            let range = try range(offset, count)
            if options.isZero {
                try await backend.writeZeroes(range, flags: options.flags.subtracting(.compressed))
            } else if !(try await writeData(range, options)) {
                return .failure
            }
            printReport("wrote", range, since: start, options)
            return .success
        } catch {
            return fail("\(failure): \(error)")
        }
    }

    /// Writes the pattern or the file; false where the file cannot be read, which has been printed.
    private func writeData(_ range: ByteRange, _ options: TransferOptions) async throws(Errno) -> Bool {
        let isCompressed = options.flags.contains(.compressed)
        guard !isCompressed || backend.node.driver.supportedWriteFlags.contains(.compressed) else { throw .ENOTSUP }
        return try await BufferPool.shared.withBuffer(count: Int(range.length)) { buffer async throws(Errno) in
            if let path = options.sourceFile {
                guard await fill(buffer, fromFile: path) else { return false }
            } else {
                buffer.fill(options.pattern ?? Self.defaultPattern)
            }
            try await backend.write(range, from: buffer, flags: options.flags)
            return true
        }
    }

    /// Fills the buffer with the contents of a file, over and over; false where that fails, which has been printed.
    private func fill(_ buffer: IOBuffer, fromFile path: String) async -> Bool {
        do throws(Errno) {
            let file = try await FileDescriptor.open(path, .readOnly)
            defer { file.closeNow() }
            let length = try await file.readFully(into: buffer, at: 0)
            guard length > 0 || buffer.count == 0 else {
                interpreter.output.complain("\(path): file is empty\n")
                return false
            }
            var done = length
            while done < buffer.count {
                let part = min(done, buffer.count - done)
                buffer[done..<done + part].copy(from: buffer[0..<part])
                done += part
            }
            return true
        } catch {
            interpreter.output.complain("\(path): \(error)\n")
            return false
        }
    }
}
