public import IOTests
import JSON

/// 257: backups with dirty bitmaps in every mode, with and without failures, and the errors of wrong arguments.
public struct BitmapSyncScenario: Scenario {
    public let name = "257"
    public let groups = ["backup", "bitmaps"]
    public let summary = "bitmap synchronisation of backups"
    public let unsupported: [ServerProgram.Kind: String] = [
        .storageDaemon: "no human-monitor-command to write with"
    ]

    public init() {}

    public func run(in context: ScenarioContext) async throws {
        for mode in ["bitmap", "full", "top"] {
            for bitmapMode in mode == "bitmap" ? ["never", "on-success", "always"] : ["on-success", "always"] {
                for failure in BitmapSyncRun.Failure.allCases {
                    var run = BitmapSyncRun(context, mode: mode, bitmapMode: bitmapMode, failure: failure)
                    try await run.run()
                }
            }
        }
        try await BackupArguments(context).run()
    }
}

/// The disk of all runs.
enum Disk {
    static let size: Int64 = 64 << 20
    static let granularity: Int64 = 65536
}

/// A write to the disk, as qemu-io takes it.
struct PatternWrite: Sendable {
    let pattern: String
    let offset: Int64
    let count: Int64

    init(_ pattern: String, _ offset: Int64, _ count: Int64) {
        self.pattern = pattern
        self.offset = offset
        self.count = count
    }

    var command: String {
        let digits = String(offset, radix: 16)
        let zeroes = String(repeating: "0", count: max(0, 7 - digits.count))
        return "write -P\(pattern) 0x\(zeroes)\(digits) 0x\(String(count, radix: 16))"
    }

    /// The numbers of the clusters that it makes dirty.
    var clusters: ClosedRange<Int64> { offset / Disk.granularity...(offset + count - 1) / Disk.granularity }

    /// The writes of a run, in four groups: aligned ones, some that straddle clusters, some beside those and over them,
    /// and longer ones.
    static let groups: [[PatternWrite]] = [
        [
            PatternWrite("0x49", 0, 0x10000), PatternWrite("0x6c", 0x100000, 0x10000),
            PatternWrite("0x6f", 0x2000000, 0x10000), PatternWrite("0x76", 0x3ff0000, 0x10000),
        ],
        [
            PatternWrite("0x65", 0, 0x10000), PatternWrite("0x77", 0xf8000, 0x10000),
            PatternWrite("0x72", 0x2008000, 0x10000), PatternWrite("0x69", 0x3fe0000, 0x10000),
        ],
        [
            PatternWrite("0x74", 0x10000, 0x10000), PatternWrite("0x69", 0xe8000, 0x10000),
            PatternWrite("0x6e", 0x2018000, 0x10000), PatternWrite("0x67", 0x3fe0000, 0x20000),
        ],
        [
            PatternWrite("0xaa", 0x10000, 0x30000), PatternWrite("0xbb", 0xd8000, 0x10000),
            PatternWrite("0xcc", 0x2028000, 0x10000), PatternWrite("0xdd", 0x3fc0000, 0x10000),
        ],
    ]
}
