import BlockGraph
import BlockNodes
import IOLoop
import JSON
import QAPI
import QMPSchema

/// What `info` tells of an image and its children.
@GraphActor
struct ImageReport {
    private let info: ImageInfo
    private let children: [(name: String, report: ImageReport)]
    private let showsLimits: Bool

    /// Asks a node, and its children but for those that hold other images.
    init(_ node: BlockNode, showsLimits: Bool) async {
        info = await NodeDescription(node).imageInfo(flat: true)
        self.showsLimits = showsLimits
        var children: [(name: String, report: ImageReport)] = []
        for child in node.children where !Self.otherImages.contains(child.name) {
            children.append((child.name, await ImageReport(child.node, showsLimits: showsLimits)))
        }
        self.children = children
    }

    private static let otherImages: Set<String> = ["backing", "data-file"]

    /// The backing image of the image that was opened as `source`, nil where there is none.
    func backing(of source: ImageSource) -> ImageSource? {
        guard info.backingFilename != nil || info.fullBackingFilename != nil else { return nil }
        var backing = source
        backing.name = info.fullBackingFilename ?? info.backingFilename ?? ""
        backing.format = info.backingFilenameFormat
        backing.isOptions = false
        return backing
    }

    // MARK: For programs

    /// The members of the report as JSON.
    var members: JSONObject {
        var members = JSONObject()
        for (name, value) in info.encodeMembers().members where name != "limits" || showsLimits {
            members[name] = value
        }
        members["children"] = .array(
            children.map { .object(["name": .string($0.name), "info": .object($0.report.members)]) })
        return members
    }

    // MARK: For people

    /// The lines of the report, each ended.
    var text: String { lines(path: nil).map { $0 + "\n" }.joined() }

    /// - Parameter path: the names of the children that lead here; nil for the image itself.
    private func lines(path: String?) -> [String] {
        let isImage = path == nil
        var lines = [
            "\(isImage ? "image" : "filename"): \(info.filename)",
            "\(isImage ? "file format" : "protocol type"): \(info.format)",
            "\(isImage ? "virtual size" : "file length"): \(Sizes.text(info.virtualSize)) (\(info.virtualSize) bytes)",
            "disk size: \(info.actualSize.map(Sizes.text) ?? "unavailable")",
        ]
        if info.encrypted == true { lines.append("encrypted: yes") }
        if let size = info.clusterSize { lines.append("cluster_size: \(size)") }
        if info.dirtyFlag == true { lines.append("cleanly shut down: no") }
        lines += backingLines + snapshotLines + (showsLimits ? limitLines : []) + specificLines
        for (name, report) in children {
            let childPath = "\(path ?? "")/\(name)"
            lines.append("Child node '\(childPath)':")
            lines += report.lines(path: childPath).map { "    " + $0 }
        }
        return lines
    }

    private var backingLines: [String] {
        guard let name = info.backingFilename else { return [] }
        var line = "backing file: \(name)"
        if let full = info.fullBackingFilename {
            if full != name { line += " (actual path: \(full))" }
        } else {
            line += " (cannot determine actual path)"
        }
        return [line] + (info.backingFilenameFormat.map { ["backing file format: \($0)"] } ?? [])
    }

    private var snapshotLines: [String] {
        guard let snapshots = info.snapshots, !snapshots.isEmpty else { return [] }
        return ["Snapshot list:", SnapshotLine.heading] + snapshots.map { SnapshotLine.text($0) }
    }

    private var specificLines: [String] {
        guard case .object(let specific)? = info.encodeMembers()["format-specific"],
            case .object(let data)? = specific["data"], !data.isEmpty
        else { return [] }
        return ["Format specific information:"] + Self.lines(of: data, depth: 1)
    }

    private var limitLines: [String] {
        guard case .object(let limits)? = info.encodeMembers()["limits"] else { return [] }
        return ["Block limits:"] + Self.lines(of: limits, depth: 1)
    }

    static func lines(of object: JSONObject, depth: Int) -> [String] {
        QDictOrder.positions(of: object.members.map(\.name)).flatMap { position -> [String] in
            let (name, value) = object.members[position]
            return lines(String(name.map { $0 == "-" ? " " : $0 }), value, depth: depth)
        }
    }

    private static func lines(_ name: String, _ value: JSON, depth: Int) -> [String] {
        let start = String(repeating: "    ", count: depth) + name + ":"
        return switch value {
        case .null: [start]
        case .bool(let flag): ["\(start) \(flag)"]
        case .integer(let number): ["\(start) \(number)"]
        case .unsigned(let number): ["\(start) \(number)"]
        case .number(let number): ["\(start) \(number)"]
        case .string(let text): ["\(start) \(text)"]
        case .array(let elements):
            [start]
                + elements.enumerated().flatMap { index, element in lines("[\(index)]", element, depth: depth + 1) }
        case .object(let object): [start] + lines(of: object, depth: depth + 1)
        }
    }
}
