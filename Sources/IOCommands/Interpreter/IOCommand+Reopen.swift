import BlockGraph
import IOLoop

extension IOInvocation {
    /// `reopen`: gives the node other options.
    func reopen() async -> IOCommandStatus {
        let request: IOReopenRequest
        do {
            request = try parseReopen()
        } catch {
            switch error {
            case .usage(let line): return fail(.usage(line))
            case .message(let message): return report(message)
            }
        }
        guard let hook = interpreter.hooks.reopen else { return report("Operation not supported") }
        do throws(BlockError) {
            try await hook(backend.node, request)
            return .success
        } catch {
            return report(error.description)
        }
    }

    private func parseReopen() throws(IOCommandFailure) -> IOReopenRequest {
        var request = IOReopenRequest()
        let operands = try operands("c:o:rw") { option throws(IOCommandFailure) in
            switch option.letter {
            case "c":
                guard let mode = IOReopenRequest.CacheMode(rawValue: option.argument) else {
                    throw .message("Invalid cache option: \(option.argument)")
                }
                request.cacheMode = mode
            case "o": request.options += driverOptions(option.argument)
            default:
                guard request.isReadOnly == nil else { throw .message("Only one -r/-w option may be given") }
                request.isReadOnly = option.letter == "r"
            }
        }
        guard operands.isEmpty else { throw .usage(nil) }
        let names = Set(request.options.map(\.name))
        if request.isReadOnly != nil, names.contains("read-only") {
            throw .message("Cannot set both -r/-w and 'read-only'")
        }
        if request.cacheMode != nil, !names.isDisjoint(with: ["cache.direct", "cache.no-flush"]) {
            throw .message("Cannot set both -c and the cache options")
        }
        return request
    }

    /// The options of "name=value,name=value"; two commas stand for one in a value. A name alone means "on", and with "no"
    /// before it "off"; `warn` is told of those.
    static func driverOptions(_ text: String, warn: (String) -> Void) -> [IOReopenRequest.Option] {
        var parts: [[UInt8]] = [[]]
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte != UInt8(ascii: ",") {
                parts[parts.count - 1].append(byte)
            } else if rest.first == UInt8(ascii: ",") {
                rest.removeFirst()
                parts[parts.count - 1].append(byte)
            } else {
                parts.append([])
            }
        }
        return parts.filter { !$0.isEmpty }.map { part in
            let name = String(decoding: part.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
            guard name.utf8.count == part.count else {
                let value = part[(name.utf8.count + 1)...]
                return IOReopenRequest.Option(name: name, value: String(decoding: value, as: UTF8.self))
            }
            let isOff = name.hasPrefix("no")
            let option = IOReopenRequest.Option(
                name: isOff ? String(name.dropFirst(2)) : name, value: isOff ? "off" : "on")
            warn(
                """
                warning: short-form boolean option '\(name)' deprecated
                Please use \(option.name)=\(option.value) instead
                """)
            return option
        }
    }
}
