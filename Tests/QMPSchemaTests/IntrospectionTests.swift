import Glibc
import JSON
import QAPI
import QMPSchema
import Testing

@Suite struct IntrospectionTests {
    @Test func `the description is complete in itself`() throws {
        let entities = try QMPIntrospection.schemaInfo()
        let names = Set(entities.map(\.name))
        #expect(names.count == entities.count)
        for entity in entities {
            for type in entity.typesUsed { #expect(names.contains(type), "\(entity.name) uses \(type)") }
        }
    }

    @Test func `every command is described, events too`() throws {
        let entities = try QMPIntrospection.schemaInfo()
        let commands = entities.filter { $0.metaType.tag == .command }.map(\.name)
        #expect(commands == QMPCommands.all.map(\.name).reversed())
        #expect(entities.contains { $0.name == "BLOCK_EXPORT_DELETED" && $0.metaType.tag == .event })
    }

    @Test func `names of types are numbers`() throws {
        for entity in try QMPIntrospection.schemaInfo() {
            switch entity.metaType {
            case .enum, .object, .alternate: #expect(Int(entity.name) != nil)
            case .array(let array): #expect(entity.name == "[\(array.elementType)]")
            default: #expect(Int(entity.name) == nil)
            }
        }
    }

    /// Set `CAIRN_QEMU_SCHEMA` to a file with what QEMU answers to `query-qmp-schema`.
    private static let reference = getenv("CAIRN_QEMU_SCHEMA").map { String(cString: $0) }

    @Test(.enabled(if: reference != nil)) func `everything that QEMU has too looks as it does there`() throws {
        let theirs = try SchemaComparison.entities(Self.text(of: try #require(Self.reference)))
        var comparison = SchemaComparison(ours: try QMPIntrospection.schemaInfo(), theirs: theirs)
        comparison.run()
        #expect(comparison.differences == [])
        #expect(comparison.typesCompared > 100)
    }

    private static func text(of path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw QMPError("\(path) cannot be opened") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes[..<count])
    }
}

extension SchemaInfo {
    /// The names of all types that the entity refers to.
    var typesUsed: [String] {
        switch metaType {
        case .builtin, .enum: []
        case .array(let array): [array.elementType]
        case .object(let object): object.members.map(\.type) + (object.variants ?? []).map(\.type)
        case .alternate(let alternate): alternate.members.map(\.type)
        case .command(let command): [command.argType, command.retType]
        case .event(let event): [event.argType]
        }
    }
}
