import BlockGraph
import IOLoop

/// `dd`: copies a part of an image into a new one.
@GraphActor
struct DDCommand: ImageCommand {
    nonisolated static let name = "dd"
    nonisolated static let summary = "copies a part of an image into a new one"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-O FORMAT] [-U] [--object OBJECT]
               [bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=SOURCE of=TARGET
        Copies a part of an image into a new one.

          -f, --format FORMAT          the source's format; by default its start is looked at
              --image-opts             SOURCE is a list of options (key=value,...), not a name
          -O, --output-format FORMAT   the target's format (raw)
          -U, --force-share            the source may be in use
              --object OBJECT          make an object that options refer to
          if=SOURCE, of=TARGET         the images; TARGET is made anew
          bs=SIZE                      the size of a block (512)
          count=BLOCKS                 how many blocks are copied (all)
          skip=BLOCKS                  how many blocks at the source's start are not copied (0)
        """
    nonisolated static let options: [CommandOption] =
        ImageSource.options + [.value("output-format", "O"), ObjectList.option]

    private static let chunkSize: Int64 = 2 << 20

    private var source = ImageSource()
    private var target: String?
    private var targetFormat = "raw"
    private var blockSize: Int64 = 512
    private var count: Int64?
    private var skip: Int64 = 0

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        while let option = try scanner.next() {
            if source.take(option) { continue }
            switch option.key {
            case "output-format": targetFormat = option.value
            case "object": try session.objects.add(option.value)
            default: break
            }
        }
        var hasSource = false
        for word in scanner.operands {
            guard let equals = word.firstIndex(of: "=") else { throw ToolFailure("unrecognized operand \(word)") }
            let (name, value) = (word[..<equals], String(word[word.index(after: equals)...]))
            switch name {
            case "if":
                source.name = value
                hasSource = true
            case "of": target = value
            case "bs": blockSize = try Sizes.parse(value, what: "bs", in: 1...Int64(Int32.max))
            case "count": count = try Sizes.parse(value, what: "count")
            case "skip": skip = try Sizes.parse(value, what: "skip")
            default: throw ToolFailure("unrecognized operand \(name)")
            }
        }
        guard hasSource, target != nil else { throw ToolFailure("Must specify both input and output files") }
        try source.check()
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        let target = target ?? ""
        let image = try await session.open(source, ImageAccess(shared: [.consistentRead, .writeUnchanged]))
        let range = self.range(ofImageOf: image.length.alignedUp(to: 512))
        try await create(target, length: range.length, in: session)
        var output = ImageSource(target, format: targetFormat)
        output.cache = .writeback
        let new = try await session.open(
            output, ImageAccess(isWritable: true, permissions: [.consistentRead, .write, .resize]))
        try await copy(range, from: image, to: new)
        return 0
    }

    /// The bytes to copy of an image; an empty range, and a message, where it would begin behind the end.
    private func range(ofImageOf length: Int64) -> ByteRange {
        func bytes(_ blocks: Int64) -> Int64 {
            let (bytes, overflow) = blocks.multipliedReportingOverflow(by: blockSize)
            return overflow ? .max : bytes
        }
        // The blocks that are skipped count, too: scripts know it so.
        let end = min(length, bytes(count ?? .max))
        let start = bytes(skip)
        if start > end { printError("\(source.name): cannot skip to specified offset") }
        return start..<max(start, end)
    }

    private func create(_ name: String, length: Int64, in session: ImageSession) async throws(ToolFailure) {
        guard (try? ImageCreation.knownOptions(of: targetFormat, inFile: true)) != nil else {
            throw ToolFailure("Unknown file format")
        }
        var creation = try ImageCreation(format: targetFormat)
        creation.size = length
        try await failing("\(name): error while creating output image") { () async throws(BlockError) in
            try await creation.create(at: name, in: session)
        }
    }

    private func copy(
        _ range: ByteRange, from source: OpenImage, to target: OpenImage
    ) async throws(ToolFailure) {
        let buffer = BufferPool.shared.take(count: Int(min(Self.chunkSize, max(1, range.length))))
        defer { BufferPool.shared.give(buffer) }
        for piece in range.pieces(ofAtMost: Self.chunkSize) {
            let part = buffer[0..<Int(piece.length)]
            let inside = piece.clamped(to: 0..<max(piece.lowerBound, source.length))
            part[Int(inside.length)...].fill(0)
            do throws(Errno) {
                try await source.backend.read(inside, into: part[0..<Int(inside.length)])
            } catch {
                throw ToolFailure("error while reading from input image file: \(error)")
            }
            let place = piece.lowerBound - range.lowerBound
            do throws(Errno) {
                try await target.backend.write(place..<place + piece.length, from: part)
            } catch {
                throw ToolFailure("error while writing to output image file: \(error)")
            }
        }
    }
}
