import JSON

/// Dotted keys and their values as a tree, before its arrays are made.
struct KeyvalTree {
    /// Keys nest at most this deep, as JSON does for QMP.
    static let maximumDepth = 1024

    /// A value, or a branch where there is no text.
    private struct Node {
        var text: String?
        /// The names below in the order in which they came.
        var names: [String] = []
        /// Where the nodes of the names are.
        var children: [String: Int] = [:]
    }

    /// All nodes; the first one is the root.
    private var nodes = [Node()]

    /// Sets the value of a key, given as its fragments.
    ///
    /// Throws "Parameters 'x.*' used inconsistently" where `x` would be both a value and a prefix of keys.
    mutating func set(_ fragments: [String], _ text: String) throws(QMPError) {
        if fragments.count > Self.maximumDepth {
            throw QMPError("Parameter '\(fragments.joined(separator: "."))' is nested too deeply")
        }
        var node = 0
        for (depth, fragment) in fragments.enumerated() {
            if nodes[node].text != nil { throw inconsistent(fragments[..<depth].joined(separator: ".")) }
            if let child = nodes[node].children[fragment] {
                node = child
                continue
            }
            nodes[node].names.append(fragment)
            nodes[node].children[fragment] = nodes.count
            node = nodes.count
            nodes.append(Node(text: depth + 1 == fragments.count ? text : nil))
        }
        if nodes[node].text == nil { throw inconsistent(fragments.joined(separator: ".")) }
        nodes[node].text = text
    }

    /// The tree as an object; branches whose names are all digits are arrays.
    ///
    /// Throws "Parameter 'x.1' missing" where an array has a gap, and "Parameters 'x.*' used inconsistently" where only
    /// some of the names are digits.
    func object() throws(QMPError) -> JSONObject {
        guard case .object(let object) = try json(of: 0, path: "") else { return JSONObject() }
        return object
    }

    private func json(of node: Int, path: String) throws(QMPError) -> JSON {
        if let text = nodes[node].text { return .string(text) }
        let names = nodes[node].names
        var values: [JSON?] = Array(repeating: nil, count: names.count)
        for index in QDictOrder.positions(of: names) {
            let name = names[index]
            values[index] = try json(of: nodes[node].children[name] ?? 0, path: path.isEmpty ? name : "\(path).\(name)")
        }
        let members = zip(names, values).compactMap { name, value in value.map { (name, $0) } }
        let numbered = names.filter { $0.utf8.allSatisfy(KeyvalParser.isDigit) }
        if numbered.isEmpty { return .object(JSONObject(members)) }
        if numbered.count < names.count { throw inconsistent(path) }
        return .array(try elements(members, path: path))
    }

    /// The elements of an array from its numbered members; a number that was written in several ways has the value that
    /// QEMU's order puts last.
    private func elements(_ members: [(String, JSON)], path: String) throws(QMPError) -> [JSON] {
        var byIndex: [Int: JSON] = [:]
        for position in QDictOrder.positions(of: members.map(\.0)) {
            let (name, value) = members[position]
            let index = Int(name) ?? Int.max
            byIndex[index] = value
        }
        var result: [JSON] = []
        for index in 0..<byIndex.count {
            guard let value = byIndex[index] else { throw QMPError("Parameter '\(path).\(index)' missing") }
            result.append(value)
        }
        return result
    }

    private func inconsistent(_ path: String) -> QMPError {
        QMPError("Parameters '\(path).*' used inconsistently")
    }
}
