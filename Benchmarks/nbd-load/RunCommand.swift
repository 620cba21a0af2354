import ArgumentParser
import Glibc

/// Sends requests, and prints one line of JSON: how many there were, in how many seconds, and how long they took.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Sends requests to an export and prints rates and latencies as JSON.",
        discussion: """
            A request begins --offset bytes into a step of --step bytes. Random requests choose any step, sequential ones \
            take one after the other and start again at the end, and with --once every step is taken once, in random \
            order with the random patterns.
            """)

    @Option(help: "The server's Unix socket.")
    var socket: String

    @Option(help: "The name of the export.")
    var export = ""

    @Option(help: "read, write, randread or randwrite.")
    var pattern: Pattern

    @Option(help: "Bytes of a request; the suffixes k, m and g are understood.")
    var blockSize = Bytes(4096)

    @Option(help: "Bytes from one possible beginning of a request to the next; by default the size of a request.")
    var step: Bytes?

    @Option(help: "Where in its step a request begins.")
    var offset = Bytes(0)

    @Option(help: "Bytes at the start of the disk that are used; by default all.")
    var region: Bytes?

    @Option(help: "Requests in flight on each connection.")
    var depth = 1

    @Option(help: "Connections.")
    var connections = 1

    @Option(help: "Ends after so many seconds.")
    var seconds: Double?

    @Option(help: "Ends after so many requests.")
    var requests: Int?

    @Flag(help: "Takes each step once, and ends.")
    var once = false

    @Option(help: "Of the random numbers.")
    var seed: UInt64 = 1

    func validate() throws {
        guard (1...65536).contains(depth), (1...1024).contains(connections) else {
            throw ValidationError("--depth and --connections must be 1 or more")
        }
        guard seconds != nil || requests != nil || once else {
            throw ValidationError("one of --seconds, --requests and --once is needed")
        }
        guard (1...(32 << 20)).contains(blockSize.count) else { throw ValidationError("--block-size is out of range") }
        guard offset.count + blockSize.count <= step?.count ?? blockSize.count || !once else {
            throw ValidationError("requests of different steps overlap")
        }
    }

    func run() throws {
        let (first, size) = try NBDHandshake.connect(path: socket, export: export)
        let others = try (1..<connections).map { _ in try NBDHandshake.connect(path: socket, export: export).socket }
        let step = self.step?.count ?? blockSize.count
        let length = min(region?.count ?? .max, size) - offset.count - blockSize.count
        guard length >= 0 else { throw LoadFailure("the export's \(size) bytes have no room for a request") }
        let steps = UInt64(length / step + 1)
        let positions = Positions(
            steps: steps, isRandom: pattern.isRandom, once: once, limit: requests ?? .max, seed: seed)
        let load = try Load(
            sockets: [first] + others, positions: positions,
            shape: RequestShape(
                isWrite: pattern.isWrite, blockSize: blockSize.count, step: step, offset: offset.count, depth: depth))
        try load.run(seconds: seconds)
        print(load.report())
    }
}

/// What is done, and in what order.
enum Pattern: String, ExpressibleByArgument, CaseIterable {
    case read, write, randread, randwrite

    var isWrite: Bool { self == .write || self == .randwrite }
    var isRandom: Bool { self == .randread || self == .randwrite }
}

/// A number of bytes as people write it: `4096`, `4k`, `1M`, `16g`.
struct Bytes: ExpressibleByArgument {
    let count: Int

    init(_ count: Int) { self.count = count }

    init?(argument: String) {
        let shifts: [Character: Int] = ["k": 10, "m": 20, "g": 30, "t": 40]
        let suffix = argument.last.flatMap { shifts[Character($0.lowercased())] }
        guard let number = Int(suffix == nil ? argument : String(argument.dropLast())), number >= 0 else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: 1 << (suffix ?? 0))
        guard !overflow else { return nil }
        count = product
    }

    var defaultValueDescription: String { "\(count)" }
}
