import BlockTestSupport
import Glibc
import IOLoop
import JSON
import QMPClient
import QMPSchema
import StorageTestSupport
import Synchronization
import Testing

/// A daemon that is killed in the middle of a job on a chain of images leaves a chain that shows what it showed.
@Suite
struct ChainKillTests {
    private static let size = 24 << 20
    /// CAIRN_KILL_ROUNDS=20 kills more often.
    private static let rounds = 0..<(getenv("CAIRN_KILL_ROUNDS").flatMap { UInt64(String(cString: $0)) } ?? 2)
    private static let names = ["a", "b", "c", "top"]

    /// The job that is killed.
    enum Work: String, CaseIterable, Sendable {
        case streamAll, streamAboveBase, streamBelow, commitToBase, commitMiddle
    }

    @Test(arguments: Work.allCases, rounds)
    func `the disk is what it was, whenever the daemon is killed`(_ work: Work, _ round: UInt64) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("\(work) seed \(seed)")
        let expected = Mutex<[UInt8]>([])
        let directory = try await Daemon.runAndKill { daemon in
            var random = SeededGenerator(seed: seed)
            try await Self.makeChain(daemon, &random)
            try await daemon.startServer()
            try await daemon.export("top")
            let guest = try await daemon.connect("top")
            let bytes = try await guest.readAll(Self.size)
            expected.withLock { $0 = bytes }
            guest.close()
            // Anywhere from before the first copy to after the last step.
            let isSlow = round % 2 == 1
            try await Self.start(work, daemon, speed: isSlow ? Int64(Self.size) : 0)
            let limit: Int64 = isSlow ? 1_200_000 : 40_000
            try await IOLoop.sleep(for: .microseconds(Int64.random(in: 0...limit, using: &random)))
        }
        let tool = try #require(installedPrograms("qemu-img").last)
        let log = directory.file("log")
        for name in Self.names {
            let (status, text) = run([tool, "check", "-f", "qcow2", directory.file(name)], output: log)
            #expect([0, 3].contains(status), "\(work) seed \(seed): \(name): \(text)")
        }
        let copy = directory.file("copy")
        let (status, text) = run(
            [tool, "convert", "-f", "qcow2", "-O", "raw", directory.file("top"), copy], output: log)
        #expect(status == 0, "\(work) seed \(seed): \(text)")
        #expect(Self.contents(copy) == expected.withLock { $0 }, "\(work) seed \(seed)")
    }

    /// Four images above a raw one, with data of their own; some are shorter.
    private static func makeChain(_ daemon: Daemon, _ random: inout SeededGenerator) async throws {
        try await daemon.makeFile("base", numberedDisk(size))
        var below = "base"
        var node = "base"
        try await daemon.add([
            "driver": "raw", "node-name": "base", "read-only": true,
            "file": ["driver": "file", "filename": .string(daemon.directory.file("base"))],
        ])
        for name in names {
            let length = name == "top" || Bool.random(using: &random) ? size : size * 2 / 3
            try await daemon.makeImage(
                name, size: length, clusterSize: Bool.random(using: &random) ? 65536 : 4096,
                backing: daemon.directory.file(below), backingFormat: below == "base" ? "raw" : "qcow2")
            try await daemon.addImage("\(name)-rw", name, ["backing": .string(node)])
            for _ in 0..<8 {
                let start = Int.random(in: 0..<length - (1 << 20), using: &random)
                let kind =
                    Bool.random(using: &random) ? "write -z" : "write -P \(Int.random(in: 1...255, using: &random))"
                _ = try await daemon.io(
                    "\(name)-rw", "\(kind) \(start) \(Int.random(in: 1...(1 << 20), using: &random))")
            }
            try await daemon.qmp.blockdevDel(nodeName: "\(name)-rw")
            try await daemon.addImage(name, name, ["backing": .string(node), "read-only": .bool(name != "top")])
            (below, node) = (name, name)
        }
    }

    private static func contents(_ path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: size + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes.prefix(count))
    }

    private static func start(_ work: Work, _ daemon: Daemon, speed: Int64) async throws {
        var arguments: JSONObject = ["job-id": "j", "speed": .integer(speed)]
        switch work {
        case .streamAll: arguments["device"] = "top"
        case .streamAboveBase: arguments += ["device": "top", "base-node": "base"]
        case .streamBelow: arguments += ["device": "c", "base-node": "a"]
        case .commitToBase: arguments += ["device": "top", "top-node": "c"]
        case .commitMiddle: arguments += ["device": "top", "top-node": "c", "base-node": "a"]
        }
        let isStream = [.streamAll, .streamAboveBase, .streamBelow].contains(work)
        try await daemon.execute(isStream ? "block-stream" : "block-commit", arguments)
    }
}

private func += (object: inout JSONObject, more: JSONObject) {
    for member in more.members { object[member.name] = member.value }
}
