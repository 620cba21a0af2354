import Foundation
import PackagePlugin

/// Makes the sources of module QMPSchema from the schema files.
@main
struct QAPIPlugin: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let schema = context.package.directoryURL.appending(path: "qmp-schema")
        let inputs = try FileManager.default.contentsOfDirectory(at: schema, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "json" }
            .sorted { $0.path < $1.path }
        let output = context.pluginWorkDirectoryURL
        let names = [
            "QMPTypes.swift", "QMPCommands.swift", "QMPCalls.swift", "QMPEvents.swift", "QMPIntrospection.swift",
        ]
        return [
            .buildCommand(
                displayName: "Making QMP types from qmp-schema",
                executable: try context.tool(named: "qapi-generator").url,
                arguments: ["swift", "--output", output.path, schema.path],
                inputFiles: inputs,
                outputFiles: names.map { output.appending(path: $0) })
        ]
    }
}
