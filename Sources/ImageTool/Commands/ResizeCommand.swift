import BlockGraph
import IOLoop

/// `resize`: makes an image longer or shorter.
@GraphActor
struct ResizeCommand: ImageCommand {
    nonisolated static let name = "resize"
    nonisolated static let summary = "makes an image longer or shorter"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [--preallocation MODE] [--shrink]
               [-q] [--object OBJECT] FILE [+-]SIZE
        Makes an image longer or shorter.

          -f, --format FORMAT        the image's format; by default its start is looked at
              --image-opts           FILE is a list of options (key=value,...), not a name
              --preallocation MODE   off (default), metadata, falloc or full: how space is allocated for what is new
              --shrink               the image may become shorter; what is beyond its new end is lost
          -q, --quiet                print nothing but errors
              --object OBJECT        make an object that options refer to

        SIZE is the new size, or what is added (+) or taken away (-), in bytes or with a unit of k, M, G, T, P or E.
        """
    nonisolated static let options: [CommandOption] = [
        .value("format", "f"), .flag("image-opts"), .value("preallocation"), .flag("shrink"), .flag("quiet", "q"),
        ObjectList.option,
    ]

    /// What a size is counted from.
    private enum Origin { case zero, plus, minus }

    private var source = ImageSource()
    private var preallocation = Preallocation.off
    private var mayShrink = false
    private var isQuiet = false
    private var origin = Origin.zero
    private var size: UInt64 = 0

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "preallocation":
                guard let mode = Preallocation(rawValue: option.value) else {
                    throw ToolFailure("Invalid preallocation mode '\(option.value)'")
                }
                preallocation = mode
            case "shrink": mayShrink = true
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        try source.check()
        guard scanner.operands.count >= 2 else { throw .usage("Expecting image file name and size") }
        guard scanner.operands.count == 2 else { throw .usage("Extra argument(s) in command line") }
        source.name = scanner.operands[0]
        var text = scanner.operands[1][...]
        if text.hasPrefix("+") { origin = .plus }
        if text.hasPrefix("-") { origin = .minus }
        if origin != .zero { text = text.dropFirst() }
        size = try OptionSize.parse(String(text), name: "size", allowsSign: false)
    }

    /// Marks a size such as "-1G" after the image's name, which is no option.
    nonisolated static func arranged(_ words: [String]) -> [String] {
        var hasName = false
        var expectsValue = false
        for (index, word) in words.enumerated() {
            if word == "--" { break }
            if expectsValue {
                expectsValue = false
            } else if !word.hasPrefix("-") || word == "-" {
                hasName = true
            } else if hasName, let second = word.dropFirst().first, second.isASCII, second.isNumber {
                return Array(words[..<index] + words[(index + 1)...] + ["--", word])
            } else {
                expectsValue = ["-f", "--format", "--preallocation", "--object"].contains(word)
            }
        }
        return words
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let image = try await session.open(source, .resizing)
        let current = image.length
        let target = try newLength(from: current)
        if target <= current, preallocation != .off {
            throw ToolFailure("Preallocation can only be used for growing images")
        }
        if target < current, !mayShrink {
            printError("Use the --shrink option to perform a shrink operation.")
            printWarning(
                "Shrinking an image will delete all data beyond the shrunken image's end. "
                    + "Before performing such an operation, make sure there is no important data there.")
            throw .silent()
        }
        let node = image.node
        try await failing { () async throws(BlockError) in
            try await session.graph.drained([node]) { () async throws(BlockError) in
                try await node.resize(to: target, exact: true, preallocation: preallocation)
            }
        }
        if !isQuiet { print("Image resized.") }
        return 0
    }

    private func newLength(from current: Int64) throws(ToolFailure) -> Int64 {
        let amount = Int64(truncatingIfNeeded: size)
        let length =
            switch origin {
            case .zero: amount
            case .plus: current &+ amount
            case .minus: current &- amount
            }
        guard length > 0 else { throw ToolFailure("New image size must be positive") }
        return length
    }
}
