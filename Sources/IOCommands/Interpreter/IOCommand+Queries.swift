import BlockGraph
import IOLoop

extension IOInvocation {
    /// `length`: the size of the node.
    func length() -> IOCommandStatus {
        print(ByteCount.text(Double(backend.length)) + "\n")
        return .success
    }

    /// `alloc`: how much of a range the node itself holds.
    func allocation() async -> IOCommandStatus {
        let offset: Int64
        let wanted: Int64
        do {
            offset = try Self.bytes(arguments[0])
            wanted = arguments.count == 2 ? try Self.bytes(arguments[1]) : 512
        } catch {
            return fail(error)
        }
        let count = min(wanted, max(0, backend.length - offset))
        var allocated: Int64 = 0
        var done: Int64 = 0
        do throws(Errno) {
            while done < count {
                let run = try await allocationRun(offset + done, count - done)
                guard run.length > 0 else { break }
                if run.isAllocated { allocated += run.length }
                done += run.length
            }
        } catch {
            return fail("is_allocated failed: \(error)")
        }
        print("\(allocated)/\(count) bytes allocated at offset \(ByteCount.text(Double(offset)))\n")
        return .success
    }

    /// `map`: the runs that the node itself holds and those that it does not.
    func map() async -> IOCommandStatus {
        let end = backend.length
        var start: Int64 = 0
        do throws(Errno) {
            while start < end {
                var run = try await allocationRun(start, end - start)
                guard run.length > 0 else { break }
                while start + run.length < end {
                    let next = try await allocationRun(start + run.length, end - start - run.length)
                    guard next.length > 0, next.isAllocated == run.isAllocated else { break }
                    run.length += next.length
                }
                printRun(start, run.length, isAllocated: run.isAllocated)
                start += run.length
            }
        } catch {
            return report("Failed to get allocation status: \(error)")
        }
        return .success
    }

    private func allocationRun(
        _ offset: Int64, _ count: Int64
    ) async throws(Errno) -> (length: Int64, isAllocated: Bool) {
        let status = try await backend.node.blockStatus(offset..<offset + count, precision: .allocation)
        return (status.length, status.isAllocated)
    }

    private func printRun(_ offset: Int64, _ count: Int64, isAllocated: Bool) {
        func both(_ value: Int64) -> (text: String, hexadecimal: String) {
            (ByteCount.text(Double(value)), "0x" + UInt64(value).hexadecimal())
        }
        let (length, position) = (both(count), both(offset))
        print(
            """
            \(length.text) (\(length.hexadecimal)) bytes \(isAllocated ? "    " : "not ")allocated at offset \
            \(position.text) (\(position.hexadecimal))

            """)
    }

    /// `info`: the format's name, its unit of allocation, and what else there is to tell.
    func info() async -> IOCommandStatus {
        let driver = backend.node.driver
        print("format name: \(driver.formatName)\n")
        if driver.isProtocol { print("format name: \(driver.formatName)\n") }
        var details: IONodeDetails? = IONodeDetails()
        if let hook = interpreter.hooks.details { details = await hook(backend.node) }
        guard let details else { return .failure }
        print("cluster size: \(ByteCount.text(Double(details.clusterSize)))\n")
        print("vm state offset: \(ByteCount.text(Double(details.vmStateOffset)))\n")
        if !details.formatSpecificLines.isEmpty {
            let lines = ["Format specific information:"] + details.formatSpecificLines.map { "    \($0)" }
            for line in lines {
                // A monitor replies with them.
                if interpreter.host == .monitor { interpreter.output.report(line) } else { print(line + "\n") }
            }
        }
        return .success
    }

    /// `help`: all commands, or one of them.
    func help() -> IOCommandStatus {
        guard let name = arguments.first else {
            for command in interpreter.commands { print(command.line(as: command.name)) }
            print("\nUse 'help commandname' for extended help.\n")
            return .success
        }
        guard let command = interpreter.command(named: name) else { return fail("command \(name) not found") }
        print(command.line(as: name) + (command.details ?? ""))
        return .success
    }
}
