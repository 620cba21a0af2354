import BlockGraph
import IOLoop

/// The most bytes of one request: the largest multiple of 512 below 2^31.
let maximumRequest: Int64 = 2_147_483_136

/// The options that reads, writes and discards share.
struct TransferOptions: Sendable {
    /// -q: no report, no dump.
    var isQuiet = false
    /// -C: the report is for machines.
    var isMachineReadable = false
    /// -P: the byte to write or to expect.
    var pattern: UInt8?
    /// -v: the data is printed.
    var dumps = false
    /// -r: the buffer would be registered; it needs no registration here.
    var registersBuffer = false
    /// -i: the request is only counted as invalid.
    var isInvalid = false
    /// -z: zeroes are written.
    var isZero = false
    /// -u, -n, -f, -c.
    var flags: WriteFlags = []
    /// -b: the machine state is meant.
    var isVMState = false
    /// -s of a read: where the verification begins.
    var verifiedStart: Int64?
    /// -l of a read: how long it is.
    var verifiedCount: Int64?
    /// -s of a write: the file to write from.
    var sourceFile: String?

    /// Takes one of the options that mean the same for all commands.
    mutating func take(_ option: OptionScanner.Option) throws(IOCommandFailure) {
        switch option.letter {
        case "q": isQuiet = true
        case "C": isMachineReadable = true
        case "P": pattern = try IOInvocation.pattern(option.argument)
        case "v": dumps = true
        case "r": registersBuffer = true
        case "i": isInvalid = true
        case "z": isZero = true
        case "u": flags.insert(.mayUnmap)
        case "n": flags.insert(.noFallback)
        case "f": flags.insert(.forceUnitAccess)
        case "c": flags.insert(.compressed)
        case "b": isVMState = true
        default: break  // -p has no meaning any more.
        }
    }
}

extension IOInvocation {
    /// Offset and lengths of a vector command: the offset, and the sum of the lengths.
    func vector(_ operands: [String]) throws(IOCommandFailure) -> (offset: Int64, count: Int64) {
        guard operands.count >= 2 else { throw .usage(nil) }
        let offset = try Self.bytes(operands[0])
        var total: Int64 = 0
        for text in operands[1...] {
            let count = try Self.bytes(text)
            guard count <= maximumRequest else {
                throw .message("Argument '\(text)' exceeds maximum size \(maximumRequest)")
            }
            guard count <= maximumRequest - total else {
                throw .message("The total number of bytes exceed the maximum size \(maximumRequest)")
            }
            total += count
        }
        return (offset, total)
    }

    /// The machine state and compressed data are transferred by whole sectors of 512 bytes.
    func checkSectors(_ offset: Int64, _ count: Int64, _ options: TransferOptions) throws(IOCommandFailure) {
        guard options.isVMState || options.flags.contains(.compressed) else { return }
        for (value, name) in [(offset, "offset"), (count, "count")] where value % 512 != 0 {
            throw .message("\(value) is not a sector-aligned value for '\(name)'")
        }
    }

    /// Checks a range against the node before anything is allocated for it. EIO: it passes the end.
    func range(_ offset: Int64, _ count: Int64) throws(Errno) -> ByteRange {
        guard let range = ByteRange(offset: offset, count: count), range.upperBound <= backend.length else {
            throw .EIO
        }
        return range
    }

    /// Prints the report of a transfer, unless it is unwanted.
    func printReport(_ verb: String, _ range: ByteRange, since start: MonotonicTime, _ options: TransferOptions) {
        guard !options.isQuiet else { return }
        let report = TransferReport(
            verb: verb, offset: range.lowerBound, count: range.length,
            nanoseconds: MonotonicTime.now.nanoseconds - start.nanoseconds)
        print(report.text(machineReadable: options.isMachineReadable))
    }
}
