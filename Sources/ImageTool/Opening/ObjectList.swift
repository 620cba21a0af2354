import BlockDrivers
import BlockGraph
import IOLoop
import JSON
import QAPI
import QMPProtocol
import QMPSchema

/// The objects that `--object` makes, for the images' options to refer to.
@GraphActor
final class ObjectList {
    private var throttleGroups: [String: ThrottleGroup] = [:]
    private var names: Set<String> = []

    /// `--object OBJECT`.
    nonisolated static let option = CommandOption.value("object")

    /// The throttle group of an identifier, nil where there is none.
    func throttleGroup(named name: String) -> ThrottleGroup? { throttleGroups[name] }

    /// Makes an object from the value of `--object`. Failure: with QEMU's texts.
    func add(_ text: String) throws(ToolFailure) {
        do throws(QMPError) {
            let options = try Keyval.decode(ObjectOptions.self, from: text, impliedKey: "qom-type") {
                (text) throws(QMPError) in try JSON(parsingOption: text)
            }
            guard BlockGraph.isWellFormed(options.id) else {
                throw QMPError(
                    .genericError, "Parameter 'id' expects an identifier",
                    hint: "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.")
            }
            guard names.insert(options.id).inserted else {
                throw QMPError("attempt to add duplicate property '\(options.id)' to object (type 'container')")
            }
            switch options.qomType {
            case .iothread: throw QMPError("invalid object type: iothread")
            case .throttleGroup(let properties):
                throttleGroups[options.id] = try Self.group(named: options.id, properties)
            }
        } catch {
            throw ToolFailure(error)
        }
    }

    private static func group(
        named id: String, _ properties: ThrottleGroupProperties
    ) throws(QMPError) -> ThrottleGroup {
        var configuration = ThrottleConfiguration()
        do {
            for (name, value) in properties.encodeMembers().members {
                if case .integer(let number) = value { _ = try configuration.setProperty(name, to: number) }
            }
            for (name, value) in (properties.limits?.encodeMembers() ?? [:]).members {
                if case .integer(let number) = value { _ = try configuration.set(name, to: number) }
            }
            return try ThrottleGroup(name: id, configuration)
        } catch {
            throw QMPError(error.description)
        }
    }
}
