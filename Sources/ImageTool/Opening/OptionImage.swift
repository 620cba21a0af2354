import BlockGraph

/// The options of an image as `--image-opts` takes them: "driver=qcow2,file.filename=disk.qcow2".
///
/// What stands first without a `=` is the node that the option `file` names.
struct OptionImage: Hashable, Sendable {
    private var items: [OptionList.Item]

    /// Takes a text apart.
    init(_ text: String) {
        var list = OptionList()
        items = []
        do {
            try list.add(text)
            items = list.items
        } catch {
            return
        }
        guard let first = text.split(separator: ",").first.map(String.init), !first.contains("=") else { return }
        if list.asksForHelp { items.insert(OptionList.Item(name: "", value: ""), at: 0) }
        items[0] = OptionList.Item(name: "file", value: first)
    }

    /// The same options with dotted keys and values only.
    var keyval: String {
        items.filter { !$0.name.isEmpty }.map { item in
            "\(item.name)=\(String(item.value.flatMap { $0 == "," ? [",", ","] : [$0] }))"
        }.joined(separator: ",")
    }

    /// The driver of the node at a path such as "file", as far as the options say: protocols below formats are files.
    func driver(at path: String) -> String? {
        if let item = items.last(where: { $0.name == (path.isEmpty ? "driver" : "\(path).driver") }) {
            return item.value
        }
        return path == "file" || path.hasSuffix(".file") ? "file" : nil
    }
}

extension BlockError {
    /// An error of the options of an image in the words that the tools have for it.
    func translated(for options: OptionImage, format: String?) -> BlockError {
        if description == "Parameter 'file' is missing" {
            return BlockError("A block device must be specified for \"file\"")
        }
        let words = description.split(separator: "'", omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "Parameter " else { return self }
        let key = words[1].split(separator: ".")
        guard let name = key.last else { return self }
        let path = key.dropLast().joined(separator: ".")
        switch words[2] {
        case " is unexpected":
            guard let driver = options.driver(at: path) ?? (path.isEmpty ? format : nil) else { return self }
            let isProtocol = ["file", "host_device", "null-co", "null-aio", "blkdebug"].contains(driver)
            return BlockError(
                isProtocol
                    ? "Block protocol '\(driver)' doesn't support the option '\(name)'"
                    : "Block format '\(driver)' does not support the option '\(name)'")
        case " expects integer", " expects a size":
            return BlockError(
                "Parameter '\(name)' expects a non-negative number below 2^64",
                hint: """
                    Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-
                    and exabytes, respectively.
                    """)
        case " expects boolean", " expects 'on' or 'off'":
            return BlockError("Parameter '\(name)' expects 'on' or 'off'")
        default: return self
        }
    }
}
