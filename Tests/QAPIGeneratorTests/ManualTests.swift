import Testing

@testable import QAPIGenerator

@Suite struct ManualTests {
    /// The top folder of the package.
    private static let package = #filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()

    @Test func `the manual is up to date`() throws {
        let schema = try SchemaFolder(path: Self.package + "/qmp-schema").read()
        let manual = try TextFile(path: Self.package + "/docs/qmp-reference.md").read()
        let isCurrent = Manual(schema).text == manual
        #expect(isCurrent, "run `swift run qapi-generator docs`")
    }

    @Test func `a missing file is named`() {
        #expect(throws: TextFileError.self) { try SchemaFolder(path: "/nonexistent").read() }
    }

    @Test func `lines have at most 120 characters`() throws {
        let schema = try SchemaFolder(path: Self.package + "/qmp-schema").read()
        for line in Manual(schema).text.split(separator: "\n") where line.count > 120 {
            Issue.record("\(line)")
        }
    }
}
