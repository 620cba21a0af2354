import BlockGraph
import IOLoop

/// `compare`: whether two images have the same contents.
@GraphActor
struct CompareCommand: ImageCommand {
    nonisolated static let name = "compare"
    nonisolated static let summary = "tells whether two images have the same contents"
    nonisolated static let help = """
        [[-f FORMAT] [-F FORMAT] | --image-opts] [-s] [-T CACHE]
               [-U] [-p] [-q] [--object OBJECT] FILE1 FILE2
        Tells whether two images have the same contents: the exit status is 0 where they have, 1 where they have not, and
        above 1 where that cannot be told.

          -f, --a-format FORMAT   the format of FILE1; by default its start is looked at
          -F, --b-format FORMAT   the format of FILE2
              --image-opts        FILE1 and FILE2 are lists of options (key=value,...), not names
          -s, --strict            lengths and allocation must be the same, too
          -T, --cache CACHE       how the images are cached (writeback)
          -U, --force-share       the images may be in use
          -p, --progress          show the progress
          -q, --quiet             print nothing but errors
              --object OBJECT     make an object that options refer to
        """
    nonisolated static let options: [CommandOption] = [
        .value("a-format", "f"), .value("b-format", "F"), .flag("image-opts"), .flag("strict", "s"),
        .value("cache", "T"), .flag("force-share", "U"), .flag("progress", "p"), .flag("quiet", "q"),
        ObjectList.option,
    ]

    /// The exit status where the images differ, and where an image cannot be opened, its status told, or read.
    private enum Status {
        static let different: Int32 = 1
        static let notOpened: Int32 = 2
        static let unknown: Int32 = 3
        static let unreadable: Int32 = 4
    }

    private var first = ImageSource()
    private var second = ImageSource()
    private var isStrict = false
    private var isQuiet = false
    private var showsProgress = false

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        var cache: String?
        while let option = try scanner.next() {
            switch option.key {
            case "a-format": first.format = option.value
            case "b-format": second.format = option.value
            case "image-opts": (first.isOptions, second.isOptions) = (true, true)
            case "strict": isStrict = true
            case "cache": cache = option.value
            case "force-share": (first.forceShare, second.forceShare) = (true, true)
            case "progress": showsProgress = true
            case "quiet": isQuiet = true
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        guard scanner.operands.count == 2 else { throw .usage("Expecting two image file names") }
        first.name = scanner.operands[0]
        second.name = scanner.operands[1]
        try Self.withStatus(Status.notOpened) { () throws(ToolFailure) in
            try first.check()
            guard let cache else { return }
            first.cache = try CacheMode(cache, what: "source cache option")
            second.cache = first.cache
        }
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let images: (OpenImage, OpenImage)
        do {
            images = (try await session.open(first), try await session.open(second))
        } catch {
            throw error.withStatus(Status.notOpened)
        }
        var progress = ProgressBar(isShown: showsProgress && !isQuiet)
        let result: String?
        do throws(ToolFailure) {
            result = try await compare(images.0, images.1, &progress)
        } catch {
            progress.finish()
            throw error
        }
        say(result ?? "Images are identical.")
        progress.finish()
        return result == nil ? 0 : Status.different
    }

    private func say(_ line: String) { if !isQuiet { print(line) } }

    /// The difference that is found first, in words; nil where there is none.
    private func compare(
        _ a: OpenImage, _ b: OpenImage, _ progress: inout ProgressBar
    ) async throws(ToolFailure) -> String? {
        let (common, total) = (min(a.length, b.length), max(a.length, b.length))
        progress.update(done: 0, of: total)
        if isStrict, a.length != b.length { return "Strict mode: Image size mismatch!" }
        var comparison = ImageComparison(a.backend, b.backend, isStrict: isStrict)
        var offset: Int64 = 0
        while offset < common {
            let step = try await self.step(&comparison, a, b, offset..<common)
            if let difference = step.difference { return difference }
            offset += step.length
            progress.update(done: offset, of: total)
        }
        guard common < total else { return nil }
        say("Warning: Image size mismatch!")
        let longer = a.length > b.length ? a : b
        while offset < total {
            let step = try await self.step(&comparison, longer, nil, offset..<total)
            if let difference = step.difference { return difference }
            offset += step.length
            progress.update(done: offset, of: total)
        }
        return nil
    }

    private func step(
        _ comparison: inout ImageComparison, _ a: OpenImage, _ b: OpenImage?, _ range: ByteRange
    ) async throws(ToolFailure) -> (difference: String?, length: Int64) {
        do throws(ImageComparison.Failure) {
            let result =
                if b == nil {
                    try await comparison.stepAgainstZeroes(a.backend, range)
                } else {
                    try await comparison.step(range)
                }
            switch result {
            case .equal(let length): return (nil, length)
            case .different(let offset): return ("Content mismatch at offset \(offset)!", 0)
            case .differentStatus(let offset):
                return ("Strict mode: Offset \(offset) block status mismatch!", 0)
            }
        } catch {
            let name = error.backend === a.backend ? a.source.name : b?.source.name ?? ""
            if error.isStatus {
                throw ToolFailure(
                    "Sector allocation test failed for \(name)", status: Status.unknown)
            }
            throw ToolFailure(
                "Error while reading offset \(error.offset) of \(name): \(error.errno)", status: Status.unreadable)
        }
    }

    private static func withStatus(
        _ status: Int32, _ body: () throws(ToolFailure) -> Void
    ) throws(ToolFailure) {
        do throws(ToolFailure) {
            try body()
        } catch {
            throw error.withStatus(status)
        }
    }
}

extension ToolFailure {
    /// The failure with another exit status.
    func withStatus(_ status: Int32) -> ToolFailure {
        var failure = self
        failure.status = status
        return failure
    }
}
