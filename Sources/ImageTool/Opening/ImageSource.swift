/// Which image a command works on, and how it is opened: what `-f`, `--image-opts`, `-U` and a file name say.
struct ImageSource: Hashable, Sendable {
    /// The name, or the options where `isOptions`.
    var name = ""
    /// The driver; nil to look at the image's start.
    var format: String?
    /// Whether `name` holds options ("driver=qcow2,file.filename=...") rather than a name.
    var isOptions = false
    /// Whether the image may be in use by others that write.
    var forceShare = false
    /// How the image is cached.
    var cache = CacheMode.writeback

    /// An image by its name, whose format is given or found out.
    init(_ name: String = "", format: String? = nil) {
        self.name = name
        self.format = format
    }

    /// The options that fill these properties: `-f`, `--image-opts`, `-U` and `--object`.
    static let options: [CommandOption] = [.value("format", "f"), .flag("image-opts"), .flag("force-share", "U")]

    /// Takes an option over; false where it is not one of `options`.
    mutating func take(_ option: GivenOption) -> Bool {
        switch option.key {
        case "format": format = option.value
        case "image-opts": isOptions = true
        case "force-share": forceShare = true
        default: return false
        }
        return true
    }

    /// Failure: `-f` and `--image-opts` are given together.
    func check(formatOption: String = "--format") throws(ToolFailure) {
        if isOptions, format != nil {
            throw ToolFailure("--image-opts and \(formatOption) are mutually exclusive")
        }
    }

    /// The same image under another name in messages and options.
    func named(_ name: String) -> ImageSource {
        var source = self
        source.name = name
        return source
    }
}
