/// A scenario that is a program in any language: what it writes is the log, and it must end with status 0.
///
/// It finds in its environment: CAIRN_IOTEST_SERVER, CAIRN_IOTEST_SERVER_KIND, CAIRN_IOTEST_IMAGE_TOOL and CAIRN_IOTEST_DIR, which is
/// its working directory too. A line "# group: NAME..." and one "# summary: TEXT" in it say what is to be known of it.
struct ExecutableScenario: Scenario {
    let name: String
    let groups: [String]
    let summary: String
    private let path: String

    /// The program at a path whose text is given.
    init(name: String, path: String, text: String) {
        self.name = name
        self.path = path
        func value(of key: String) -> String? {
            let prefix = "# \(key): "
            return text.split(separator: "\n").first { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        }
        groups = value(of: "group")?.split(separator: " ").map(String.init) ?? []
        summary = value(of: "summary") ?? ""
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
