import BlockGraph
import JSON
import QAPI
import QMPProtocol

/// The name of an image as people and image headers write it, as options in which drivers may still be missing:
/// a path, "PROTOCOL:...", or "json:{...}" with the options themselves.
public enum ImageName {
    /// The options of the protocol node that a name stands for.
    ///
    /// Errors: "Unknown protocol 'x'"; the JSON is malformed or not an object.
    static func protocolOptions(_ name: String) throws(BlockError) -> JSONObject {
        if let object = try jsonOptions(name) { return object }
        guard let scheme = scheme(of: name) else { return ["filename": .string(name)] }
        let rest = String(name.dropFirst(scheme.count + 1))
        switch scheme {
        case "file": return ["filename": .string(rest)]
        case "host_device": return ["driver": "host_device", "filename": .string(rest)]
        case "null-co", "null-aio":
            guard rest == "//" else { throw BlockError("The only allowed filename for this driver is '\(scheme)://'") }
            return ["driver": .string(scheme)]
        case "blkdebug": return try blkdebugOptions(rest)
        default: throw BlockError("Unknown protocol '\(scheme)'")
        }
    }

    /// The options that a name of the form "json:{...}" holds, dotted keys spread out; nil for other names.
    ///
    /// Errors: the JSON is malformed or not an object.
    static func jsonOptions(_ name: String) throws(BlockError) -> JSONObject? {
        guard name.hasPrefix("json:") else { return nil }
        let json: JSON
        do {
            json = try JSON(parsingOption: String(name.dropFirst(5)))
        } catch {
            throw BlockError("Could not parse the JSON options: \(error.description)")
        }
        guard case .object(let object) = json else { throw BlockError("Invalid JSON object given") }
        return try OptionTree.nested(object)
    }

    /// The protocol that a name starts with: what stands before a colon, where no slash precedes it.
    static func scheme(of name: String) -> String? {
        guard let end = name.firstIndex(where: { $0 == ":" || $0 == "/" }), name[end] == ":" else { return nil }
        return String(name[..<end])
    }

    /// A name in an image's header, seen from the daemon: a relative path starts at the image's directory.
    ///
    /// Error: the image has no directory, as it has no file name.
    public static func resolve(_ name: String, relativeTo image: String) throws(BlockError) -> String {
        if name.isEmpty || name.hasPrefix("/") || scheme(of: name) != nil { return name }
        if image.hasPrefix("json:") {
            throw BlockError("Cannot use relative backing file names for '\(image)'")
        }
        let directory = image.lastIndex(of: "/").map { image[...$0] } ?? ""
        return directory + name
    }

    /// "blkdebug:CONFIG:IMAGE": a file of rules, which may be missing, and the image.
    private static func blkdebugOptions(_ rest: String) throws(BlockError) -> JSONObject {
        guard let colon = rest.firstIndex(of: ":") else {
            throw BlockError("blkdebug requires both config file and image path")
        }
        let image = try protocolOptions(String(rest[rest.index(after: colon)...]))
        var options: JSONObject = ["driver": "blkdebug", "image": .object(image)]
        if colon > rest.startIndex { options["config"] = .string(String(rest[..<colon])) }
        return options
    }
}
