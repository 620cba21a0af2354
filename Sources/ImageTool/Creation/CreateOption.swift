/// An option of `-o` as a format defines it.
struct CreateOption: Hashable, Sendable {
    /// The kinds of values.
    enum Kind: String, Hashable, Sendable {
        /// A text.
        case string = "str"
        /// A number of bytes, with a unit.
        case size
        /// A number.
        case number = "num"
        /// `on` or `off`.
        case bool = "bool (on/off)"
    }

    /// The name.
    let name: String
    /// The kind of its value.
    let kind: Kind
    /// The value where none is given, as it is printed; nil for none.
    let standard: String?
    /// What it says, for `-o help`.
    let help: String

    private static func option(
        _ name: String, _ kind: Kind, _ help: String, default standard: String? = nil
    ) -> CreateOption {
        CreateOption(name: name, kind: kind, standard: standard, help: help)
    }

    /// The line of `-o help`.
    var helpLine: String {
        let start = "  \(name)=<\(kind.rawValue)>"
        return start + String(repeating: " ", count: max(0, 24 - start.utf8.count)) + " - \(help)"
    }

    private static let size = option("size", .size, "Virtual disk size")

    /// The options of files, in the order in which they are printed.
    private static let file: [CreateOption] = [
        size,
        option("nocow", .bool, "Turn off copy-on-write (valid only on btrfs)"),
        option("preallocation", .string, "Preallocation mode (allowed values: off, falloc, full)"),
        option("extent_size_hint", .size, "Extent size hint for the image file, 0 to disable"),
    ]

    /// The options of qcow2 images, in the order in which they are printed.
    private static let qcow2: [CreateOption] = [
        option(
            "encryption", .bool, "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"),
        option("encrypt.format", .string, "Encrypt the image, format choices: 'aes', 'luks'"),
        option("encrypt.key-secret", .string, "ID of secret providing qcow AES key or LUKS passphrase"),
        option("encrypt.cipher-alg", .string, "Name of encryption cipher algorithm"),
        option("encrypt.cipher-mode", .string, "Name of encryption cipher mode"),
        option("encrypt.ivgen-alg", .string, "Name of IV generator algorithm"),
        option("encrypt.ivgen-hash-alg", .string, "Name of IV generator hash algorithm"),
        option("encrypt.hash-alg", .string, "Name of encryption hash algorithm"),
        option("encrypt.iter-time", .number, "Time to spend in PBKDF in milliseconds"),
        option("cluster_size", .size, "qcow2 cluster size", default: "65536"),
        option("extended_l2", .bool, "Extended L2 tables", default: "off"),
        option("preallocation", .string, "Preallocation mode (allowed values: off, metadata, falloc, full)"),
        option(
            "compression_type", .string, "Compression method used for image cluster compression", default: "zlib"),
        option(
            "keep_data_file", .bool, "Assume the external data file already exists and do not overwrite it"),
        size,
        option("compat", .string, "Compatibility level (v2 [0.10] or v3 [1.1])"),
        option("backing_file", .string, "File name of a base image"),
        option("backing_fmt", .string, "Image format of the base image"),
        option("data_file", .string, "File name of an external data file"),
        option("data_file_raw", .bool, "The external data file must stay valid as a raw image"),
        option("lazy_refcounts", .bool, "Postpone refcount updates", default: "off"),
        option("refcount_bits", .number, "Width of a reference count entry in bits", default: "16"),
    ]

    /// The options of a format's own; nil where images of it cannot be made.
    static func options(ofFormat format: String) -> [CreateOption]? {
        switch format {
        case "raw": [size]
        case "file", "host_device": file
        case "qcow2": qcow2
        default: nil
        }
    }

    /// The options of a format, and those of files that it does not have.
    static func options(ofFormat format: String, inFile: Bool) -> [CreateOption]? {
        guard let own = options(ofFormat: format) else { return nil }
        guard inFile else { return own }
        return own + file.filter { option in !own.contains { $0.name == option.name } }
    }
}
