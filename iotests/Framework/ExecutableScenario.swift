/// A scenario that is a program in any language: what it writes is the log, and it must end with status 0.
///
/// It finds in its environment: CAIRN_IOTEST_SERVER, CAIRN_IOTEST_SERVER_KIND, CAIRN_IOTEST_IMAGE_TOOL and CAIRN_IOTEST_DIR, which is
/// its working directory too. Lines "# group: NAME...", "# summary: TEXT" and "# unsupported: KIND REASON" in it say what is to be
/// known of it.
struct ExecutableScenario: Scenario {
    let name: String
    let groups: [String]
    let summary: String
    let unsupported: [ServerProgram.Kind: String]
    private let path: String

    /// The program at an absolute path, whose text is given.
    init(name: String, path: String, text: String) {
        self.name = name
        self.path = path
        func values(of key: String) -> [Substring] {
            let prefix = "# \(key): "
            return text.split(separator: "\n").filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
        }
        groups = values(of: "group").flatMap { $0.split(separator: " ") }.map(String.init)
        summary = values(of: "summary").first.map(String.init) ?? ""
        var unsupported: [ServerProgram.Kind: String] = [:]
        for value in values(of: "unsupported") {
            let words = value.split(separator: " ", maxSplits: 1)
            guard let first = words.first, let kind = ServerProgram.Kind(rawValue: String(first)) else { continue }
            unsupported[kind] = words.dropFirst().first.map(String.init) ?? ""
        }
        self.unsupported = unsupported
    }

    func run(in context: ScenarioContext) async throws {
        let (status, output) = try await context.run(
            [path],
            environment: [
                "CAIRN_IOTEST_SERVER": context.server.path,
                "CAIRN_IOTEST_SERVER_KIND": context.server.kind.rawValue,
                "CAIRN_IOTEST_IMAGE_TOOL": context.imageTool, "CAIRN_IOTEST_DIR": context.directory,
            ])
        context.log(output.hasSuffix("\n") ? String(output.dropLast()) : output)
        guard status == 0 else { throw ScenarioFailure("the program ended with status \(status)") }
    }
}
