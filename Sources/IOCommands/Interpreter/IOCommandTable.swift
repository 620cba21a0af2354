import BlockGraph

extension IOCommand {
    /// All commands, in the order of their names.
    static let all: [IOCommand] = (transfers + queries + control + breakpoints + zones).sorted { $0.name < $1.name }

    private static let transfers = [
        IOCommand(
            "aio_discard", atLeast: 2, synopsis: "[-Cq] off len",
            summary: "asynchronously discards a number of bytes", details: IOCommandHelp.aioDiscard,
            permissions: .write, body: { $0.discardAsynchronously() }),
        IOCommand(
            "aio_read", atLeast: 2, synopsis: "[-Ciqrv] [-P pattern] off len [len..]",
            summary: "asynchronously reads a number of bytes", details: IOCommandHelp.aioRead,
            body: { $0.readAsynchronously() }),
        IOCommand(
            "aio_write", atLeast: 2, synopsis: "[-Cfiqruz] [-P pattern] off len [len..]",
            summary: "asynchronously writes a number of bytes", details: IOCommandHelp.aioWrite,
            permissions: .write, body: { $0.writeAsynchronously() }),
        IOCommand(
            "discard", alias: "d", atLeast: 2, synopsis: "[-Cq] off len",
            summary: "discards a number of bytes at a specified offset", details: IOCommandHelp.discard,
            permissions: .write, body: { await $0.discard() }),
        IOCommand(
            "read", alias: "r", atLeast: 2, synopsis: "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
            summary: "reads a number of bytes at a specified offset", details: IOCommandHelp.read,
            body: { await $0.read() }),
        IOCommand(
            "readv", atLeast: 2, synopsis: "[-Cqrv] [-P pattern] off len [len..]",
            summary: "reads a number of bytes at a specified offset", details: IOCommandHelp.readVector,
            body: { await $0.readVector() }),
        IOCommand(
            "write", alias: "w", atLeast: 2, synopsis: "[-bcCfnqruz] [-P pattern | -s source_file] off len",
            summary: "writes a number of bytes at a specified offset", details: IOCommandHelp.write,
            permissions: .write, body: { await $0.write() }),
        IOCommand(
            "writev", atLeast: 2, synopsis: "[-Cfqr] [-P pattern] off len [len..]",
            summary: "writes a number of bytes at a specified offset", details: IOCommandHelp.writeVector,
            permissions: .write, body: { await $0.writeVector() }),
    ]

    private static let queries = [
        IOCommand(
            "alloc", alias: "a", arguments: 1...2, synopsis: "offset [count]",
            summary: "checks if offset is allocated in the file", body: { await $0.allocation() }),
        IOCommand(
            "help", alias: "?", arguments: 0...1, synopsis: "[command]", summary: "help for one or all commands",
            needsImage: false, body: { $0.help() }),
        IOCommand(
            "info", alias: "i", arguments: 0...0, summary: "prints information about the current file",
            body: { await $0.info() }),
        IOCommand(
            "length", alias: "l", arguments: 0...0, summary: "gets the length of the current file",
            body: { $0.length() }),
        IOCommand(
            "map", arguments: 0...0, synopsis: "", summary: "prints the allocated areas of a file",
            body: { await $0.map() }),
    ]

    private static let control = [
        IOCommand(
            "abort", arguments: 0...0, summary: "simulate a program crash using abort(3)", needsImage: false,
            body: { $0.abort() }),
        IOCommand(
            "aio_flush", arguments: 0...0, summary: "completes all outstanding aio requests",
            body: { await $0.flushAsynchronous() }),
        IOCommand(
            "close", alias: "c", arguments: 0...0, summary: "close the current open file", audience: .program,
            body: { await $0.close() }),
        IOCommand(
            "flush", alias: "f", arguments: 0...0, summary: "flush all in-core file state to disk",
            body: { await $0.flush() }),
        IOCommand(
            "open", alias: "o", atLeast: 1,
            synopsis: "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
            summary: "open the file specified by path",
            details: IOCommandHelp.open, audience: .program,
            needsImage: false, body: { await $0.open() }),
        IOCommand(
            "quit", alias: "q", summary: "exit the program", audience: .program, needsImage: false, body: { _ in .quit }
        ),
        IOCommand(
            "reopen", synopsis: "[(-r|-w)] [-c cache] [-o options]", summary: "reopens an image with new options",
            details: IOCommandHelp.reopen, body: { await $0.reopen() }),
        IOCommand(
            "sigraise", arguments: 1...1, synopsis: "signal", summary: "raises a signal",
            details: IOCommandHelp.raiseSignal, needsImage: false, body: { $0.raiseSignal() }),
        IOCommand(
            "sleep", arguments: 1...1, summary: "waits for the given value in milliseconds",
            needsImage: false, body: { await $0.sleep() }),
        IOCommand(
            "truncate", alias: "t", arguments: 1...3, synopsis: "[-m prealloc_mode] off",
            summary: "truncates the current file at the given offset", permissions: [.write, .resize],
            body: { await $0.truncate() }),
    ]

    private static let breakpoints = [
        IOCommand(
            "break", arguments: 2...2, synopsis: "event tag",
            summary: "sets a breakpoint on event and tags the stopped request as tag",
            body: { await $0.setBreakpoint() }),
        IOCommand(
            "remove_break", arguments: 1...1, synopsis: "tag", summary: "remove a breakpoint by tag",
            body: { await $0.removeBreakpoint() }),
        IOCommand(
            "resume", arguments: 1...1, synopsis: "tag", summary: "resumes the request tagged as tag",
            body: { await $0.resume() }),
        IOCommand(
            "wait_break", arguments: 1...1, synopsis: "tag", summary: "waits for the suspension of a request",
            body: { await $0.waitForBreakpoint() }),
    ]

    private static let zones = [
        IOCommand(
            "zone_append", arguments: 3...4, synopsis: "offset len [len..]",
            summary: "append write a number of bytes at a specified offset", body: { $0.zoned("append") }),
        IOCommand(
            "zone_close", arguments: 2...2, synopsis: "offset len",
            summary: "close a range of zones in zone block device", body: { $0.zoned("close", checksRange: true) }),
        IOCommand(
            "zone_finish", arguments: 2...2, synopsis: "offset len",
            summary: "finish a range of zones in zone block device", body: { $0.zoned("finish", checksRange: true) }),
        IOCommand(
            "zone_open", arguments: 2...2, synopsis: "offset len",
            summary: "explicit open a range of zones in zone block device",
            body: { $0.zoned("open", checksRange: true) }),
        IOCommand(
            "zone_report", arguments: 2...2, synopsis: "offset number", summary: "report zone information",
            body: { $0.zoned("report") }),
        IOCommand(
            "zone_reset", arguments: 2...2, synopsis: "offset len",
            summary: "reset a zone write pointer in zone block device", body: { $0.zoned("reset", checksRange: true) }),
    ]
}
