import Glibc
import IOLoop

/// What `--object help` and `--object TYPE,help` print.
@GraphActor
enum ObjectHelp {
    /// Whether an option's value asks for help.
    static func isAskedFor(by text: String) -> Bool {
        !text.hasPrefix("{") && text.split(separator: ",").contains { $0 == "help" || $0 == "?" }
    }

    /// Prints what is asked for and ends the process.
    static func printAndExit(_ text: String) -> Never {
        let name = text.split(separator: ",").first.map(String.init) ?? ""
        if let type = ObjectRegistry.types.first(where: { $0.typeName == name }) {
            print("\(type.typeName) options:")
            for property in type.properties.sorted(by: { $0.name < $1.name }) {
                print("  \(property.name)=<\(property.type)>")
            }
        } else {
            print("List of user creatable objects:")
            for type in ObjectRegistry.types { print("  \(type.typeName)") }
        }
        fflush(nil)
        exit(0)
    }
}
