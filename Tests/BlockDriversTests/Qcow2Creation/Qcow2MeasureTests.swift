import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct Qcow2MeasureTests {
    private let directory = TemporaryDirectory()

    static let optionTexts = [
        "", "cluster_size=512", "cluster_size=4096,refcount_bits=64", "cluster_size=2097152", "extended_l2=on",
        "compat=0.10", "refcount_bits=1", "preallocation=metadata", "preallocation=full", "preallocation=falloc",
        "backing_file=x,backing_fmt=raw",
    ]

    private func options(_ text: String, size: Int64) throws -> Qcow2CreationOptions {
        var options = Qcow2CreationOptions(size: size)
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=").map(String.init)
            switch pair[0] {
            case "cluster_size": options.clusterSize = try #require(Int64(pair[1]))
            case "refcount_bits": options.refcountBits = try #require(Int64(pair[1]))
            case "extended_l2": options.extendedL2 = true
            case "compat": options.version = 2
            case "preallocation": options.preallocation = try #require(Preallocation(rawValue: pair[1]))
            case "backing_file": options.backingFile = pair[1]
            default: options.backingFormat = pair[1]
            }
        }
        return options
    }

    private func theirs(_ arguments: [String], _ text: String) -> String {
        guard let program = installedPrograms("qemu-img").last else { return "" }
        let result = run(
            [program, "measure", "-O", "qcow2"] + (text.isEmpty ? [] : ["-o", text]) + arguments,
            output: directory.file("log"))
        return result.output
    }

    private func describe(_ body: () async throws(BlockError) -> Qcow2Measure) async -> String {
        do {
            let measure = try await body()
            return "required size: \(measure.required)\nfully allocated size: \(measure.fullyAllocated)\n"
        } catch {
            return "qemu-img: \(error.description)\n"
        }
    }

    @Test(arguments: optionTexts)
    func `an empty image is measured as by QEMU`(text: String) async throws {
        guard !installedPrograms("qemu-img").isEmpty else { return }
        for size in [0, 1, 511, 65536, 1 << 30, 1 << 37, 1 << 40, 1 << 50, 1 << 51, 1 << 52, Int64.max] {
            let options = try options(text, size: size)
            let ours = await describe { () async throws(BlockError) in try Qcow2Measure(options) }
            #expect(ours == theirs(["--size", "\(size)"], text), "\(text), \(size)")
        }
    }

    @Test func `options that do not go together are refused in QEMU's words`() async throws {
        guard !installedPrograms("qemu-img").isEmpty else { return }
        for text in [
            "cluster_size=513", "refcount_bits=3", "refcount_bits=8,compat=0.10", "cluster_size=4096,extended_l2=on",
        ] {
            let options = try options(text, size: 1)
            let ours = await describe { () async throws(BlockError) in try Qcow2Measure(options) }
            #expect(ours == theirs(["--size", "1"], text))
        }
    }

    @Test func `a conversion takes what the source has`() async throws {
        guard !installedPrograms("qemu-img").isEmpty else { return }
        let path = directory.file("source")
        let file = try #require(fopen(path, "w"))
        for offset in [0, 70_000, 3 << 20, (9 << 20) + 1000] {
            fseek(file, offset, SEEK_SET)
            fwrite([UInt8](repeating: 1, count: 40_000), 1, 40_000, file)
        }
        fclose(file)
        truncate(path, 10 << 20)
        var results: [(String, String)] = []
        for text in Self.optionTexts {
            let options = try options(text, size: 0)
            let ours = try await GraphFixture.run { fixture in
                let node = try await fixture.graph.openFile(path, isOwnedByMonitor: true)
                let raw = try await fixture.openRaw("raw", file: node)
                return await self.describe { () async throws(BlockError) in
                    try await Qcow2Measure.measure(options, convertingFrom: raw)
                }
            }
            results.append((ours, theirs(["-f", "raw", path], text)))
        }
        for (ours, theirs) in results { #expect(ours == theirs) }
    }
}
