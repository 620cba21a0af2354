import BlockGraph
import IOLoop

extension IOInvocation {
    /// `open`: opens an image for the commands that follow.
    func open() async -> IOCommandStatus {
        let request: IOOpenRequest
        do {
            request = try parseOpen()
        } catch {
            switch error {
            case .usage(let line): return fail(.usage(line))
            case .message(let message): return report(message)
            }
        }
        guard let hook = interpreter.hooks.open else { return report("Operation not supported") }
        return await hook(request)
    }

    /// `close`: closes the image.
    func close() async -> IOCommandStatus {
        guard let hook = interpreter.hooks.close else { return report("Operation not supported") }
        return await hook()
    }

    private func parseOpen() throws(IOCommandFailure) -> IOOpenRequest {
        var request = IOOpenRequest()
        let operands = try operands("snCro:ki:t:d:U") { option throws(IOCommandFailure) in
            do throws(IOOptionError) {
                switch option.letter {
                case "s": request.writesToOverlay = true
                case "n": request.cacheMode = IOReopenRequest.CacheMode.none
                case "C": request.copiesOnRead = true
                case "r": request.isReadOnly = true
                case "k": request.asynchronousIO = .native
                case "i": try request.takeAsynchronousIO(option.argument)
                case "t": try request.takeCacheMode(option.argument)
                case "d": try request.takeDiscard(option.argument)
                case "U": request.sharesImage = true
                default: request.options += driverOptions(option.argument)
                }
            } catch {
                throw .message(error.message)
            }
        }
        guard operands.count <= 1 else { throw .usage(nil) }
        request.path = operands.first
        return request
    }

    /// The options of a text; those without a value are warned about.
    func driverOptions(_ text: String) -> [IOReopenRequest.Option] {
        Self.driverOptions(text) { warning in interpreter.output.report(warning) }
    }
}
