import BlockGraph
import IOCommands

@main
enum Main {
    static func main() {
        let images = ImageOpener()
        var hooks = IOCommandHooks()
        hooks.reopen = { node, request async throws(BlockError) in try await images.reopen(node, request) }
        hooks.details = { node in await images.details(of: node) }
        IOProgram(
            version: "11.1.3 (Cairn 0.1.0)",
            opener: { request async throws(BlockError) in try await images.open(request) },
            hooks: hooks,
            makeObject: { definition throws(BlockError) in try images.makeObject(definition) }
        ).run()
    }
}
