import BlockGraph
import Glibc
import IOLoop

/// `bench`: tells how long a number of requests takes.
@GraphActor
struct BenchCommand: ImageCommand {
    nonisolated static let name = "bench"
    nonisolated static let summary = "tells how long a number of requests takes"
    nonisolated static let help = """
        [-f FORMAT | --image-opts] [-t CACHE] [-c COUNT] [-d DEPTH] [-o OFFSET]
               [-s SIZE] [-S STEP] [-w [--pattern BYTE] [--flush-interval COUNT [--no-drain]]]
               [-i AIO] [-n] [-U] [-q] [--object OBJECT] FILE
        Makes a number of requests, and tells how long they take.

          -f, --format FORMAT          the image's format; by default its start is looked at
              --image-opts             FILE is a list of options (key=value,...), not a name
          -t, --cache CACHE            how the image is cached (writeback)
          -c, --count COUNT            the number of requests (75000)
          -d, --depth DEPTH            requests at a time (64)
          -o, --offset OFFSET          where the first request begins (0)
          -s, --buffer-size SIZE       the bytes of a request (4k)
          -S, --step-size STEP         from the start of a request to that of the next one (SIZE)
          -w, --write                  write rather than read
              --pattern BYTE           what is written (0)
              --flush-interval COUNT   flush after so many requests
              --no-drain               do not wait for requests under way before a flush
          -i, --aio AIO                threads, native or io_uring; I/O always goes through io_uring
          -n, --native                 short for -i native
          -U, --force-share            the image may be in use
          -q, --quiet                  print nothing but errors
              --object OBJECT          make an object that options refer to
        """
    nonisolated static let options: [CommandOption] =
        ImageSource.options + [
            .value("cache", "t"), .value("count", "c"), .value("depth", "d"), .value("offset", "o"),
            .value("buffer-size", "s"), .value("step-size", "S"), .flag("write", "w"), .value("pattern"),
            .value("flush-interval"), .flag("no-drain"), .value("aio", "i"), .flag("native", "n"), .flag("quiet", "q"),
            ObjectList.option,
        ]

    private var source = ImageSource()
    private var requests = BenchRequests()
    private var step: Int64?
    private var aio: String?

    init(scanning scanner: OptionScanner, in session: ImageSession) throws(ToolFailure) {
        let positive = 1...Int64(Int32.max)
        while let option = try scanner.next() {
            if source.take(option) { continue }
            let value = option.value
            switch option.key {
            case "cache":
                guard let mode = try? CacheMode(value) else { throw ToolFailure("Invalid cache mode") }
                source.cache = mode
            case "count": requests.count = Int(try Sizes.parse(value, what: "request count", in: positive))
            case "depth": requests.depth = Int(try Sizes.parse(value, what: "queue depth", in: positive))
            case "offset": requests.offset = try Sizes.parse(value, what: "offset")
            case "buffer-size": requests.size = try Sizes.parse(value, what: "buffer size", in: positive)
            case "step-size": step = try Sizes.parse(value, what: "step size", in: 0...Int64(Int32.max))
            case "write": requests.isWrite = true
            case "pattern": requests.pattern = UInt8(try Sizes.parse(value, what: "pattern byte", in: 0...0xFF))
            case "flush-interval":
                requests.flushInterval = Int(try Sizes.parse(value, what: "flush interval", in: 0...Int64(Int32.max)))
            case "no-drain": requests.drains = false
            case "aio": try takeAIO(value)
            case "native": aio = "native"
            case "object": try session.objects.add(value)
            default: break
            }
        }
        guard scanner.operands.count == 1 else { throw .usage("Expecting one image file name") }
        source.name = scanner.operands[0]
        try source.check()
        requests.step = step == 0 ? requests.size : step ?? requests.size
        if requests.flushInterval > 0, !requests.isWrite {
            throw ToolFailure("--flush-interval is only available in write tests")
        }
        if requests.flushInterval > 0, requests.flushInterval < requests.depth {
            throw ToolFailure("Flush interval can't be smaller than depth")
        }
    }

    private mutating func takeAIO(_ value: String) throws(ToolFailure) {
        guard ["threads", "native", "io_uring"].contains(value) else {
            throw ToolFailure("Invalid aio option: \(value)")
        }
        aio = value
    }

    func run(in session: ImageSession) async throws(ToolFailure) -> Int32 {
        if aio == "native", !source.cache.isDirect {
            throw ToolFailure(
                """
                Could not open '\(source.name)': aio=native was specified, but it requires cache.direct=on, which was not \
                specified.
                """)
        }
        let image = try await session.open(source, requests.isWrite ? .writing : .reading)
        let kind = requests.isWrite ? "write" : "read"
        print(
            """
            Sending \(requests.count) \(kind) requests, \(requests.size) bytes each, \(requests.depth) in parallel \
            (starting at offset \(requests.offset), step size \(requests.step))
            """)
        if requests.flushInterval > 0 {
            print("Sending flush every \(requests.flushInterval) requests")
        }
        let start = MonotonicTime.now
        do throws(Errno) {
            try await BenchRun(requests, on: image.backend).run()
        } catch {
            throw ToolFailure("Failed request: \(error)")
        }
        let milliseconds = (MonotonicTime.now.nanoseconds - start.nanoseconds) / 1_000_000
        let rest = String(milliseconds % 1000)
        print(
            "Run completed in \(milliseconds / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest) seconds.")
        return 0
    }
}
