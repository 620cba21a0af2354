import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import Qcow2Format
import StorageTestSupport
import Testing

/// The consistency check and the repair of images.
@Suite struct Qcow2CheckerTests {
    /// What a check came to: the messages, the result or the error, and the image afterwards.
    struct Outcome: Sendable {
        var messages: [String] = []
        var result: Qcow2CheckResult?
        var error: String?
        var bytes: [UInt8] = []
    }

    /// Checks an image in memory.
    static func check(_ bytes: [UInt8], repair: Qcow2Repair = .none) async throws -> Outcome {
        try await GraphFixture.run { fixture in
            var abilities = MemoryDriver.Abilities()
            abilities.grows = true
            let driver = MemoryDriver(bytes, abilities: abilities)
            let node = try await fixture.graph.openMemory(nil, driver)
            var outcome = Outcome()
            do throws(BlockError) {
                outcome.result = try await Qcow2Checker.check(node, repair: repair) { outcome.messages.append($0.text) }
            } catch {
                outcome.error = error.description
            }
            outcome.bytes = driver.bytes
            return outcome
        }
    }

    @Test(arguments: Qcow2Fixtures.all) func `sound images have no findings and are not changed`(
        image: Qcow2Fixtures.Image
    ) async throws {
        for repair in [.none, .leaks, .all] as [Qcow2Repair] {
            let outcome = try await Self.check(image.bytes, repair: repair)
            #expect(outcome.result?.isClean == true)
            #expect(outcome.messages.isEmpty && outcome.error == nil)
            #expect(outcome.bytes == image.bytes)
        }
    }

    @Test func `figures of allocation and fragmentation`() async throws {
        // As qemu-img 11.1 shows them.
        let result = try #require(try await Self.check(Qcow2Fixtures.image("compressed-64k").bytes).result)
        #expect(result.totalClusters == 4 && result.allocatedClusters == 4)
        #expect(result.compressedClusters == 3 && result.fragmentedClusters == 3)
        let data = try #require(try await Self.check(Qcow2Fixtures.image("data-file").bytes).result)
        #expect(data.totalClusters == 64 && data.imageEndOffset == 20480)
    }

    @Test func `a refcount that is too high is a leak and is repaired as one`() async throws {
        var bytes = try Qcow2Fixtures.image("plain-4k").bytes
        let block = 8192
        bytes[block + 2 * 5 + 1] = 3
        let found = try await Self.check(bytes)
        #expect(found.messages.first == "Leaked cluster 5 refcount=3 reference=1")
        #expect(found.result?.leaks == 1)
        let repaired = try await Self.check(bytes, repair: .leaks)
        #expect(repaired.messages.contains("Repairing cluster 5 refcount=3 reference=1"))
        #expect(repaired.result?.leaksFixed == 1 && repaired.result?.isClean == true)
        #expect(try await Self.check(repaired.bytes).result?.isClean == true)
    }

    @Test func `missing refcounts need new refcount structures`() async throws {
        var bytes = try Qcow2Fixtures.image("plain-4k").bytes
        bytes[8192 + 2 * 5 + 1] = 0
        #expect(try await Self.check(bytes, repair: .leaks).error == "Check failed: Input/output error")
        bytes[79] = 3
        let repaired = try await Self.check(bytes, repair: .all)
        #expect(repaired.messages.contains("Rebuilding refcount structure"))
        #expect(repaired.result?.isClean == true)
        let again = try await Self.check(repaired.bytes)
        #expect(again.result?.isClean == true)
        // The dirty and the corrupt bit are gone.
        #expect(try Qcow2Header(parsing: repaired.bytes).incompatibleFeatures.isEmpty)
    }

    @Test func `the copied flag is repaired`() async throws {
        var bytes = try Qcow2Fixtures.image("plain-4k").bytes
        bytes[12288] = 0
        let found = try await Self.check(bytes)
        #expect(found.messages == ["ERROR OFLAG_COPIED L2 cluster: l1_index=0 l1_entry=4000 refcount=1"])
        #expect(found.result?.corruptions == 1)
        let repaired = try await Self.check(bytes, repair: .all)
        #expect(repaired.result?.corruptionsFixed == 1 && repaired.result?.isClean == true)
        #expect(repaired.bytes[12288] == 0x80)
    }

    @Test func `a repair that is done leaves nothing for a second one`() async throws {
        let seed: UInt64 = 31
        var random = SeededGenerator(seed: seed)
        for image in Qcow2Fixtures.small {
            let mutator = try #require(Qcow2Mutator(image.bytes))
            for _ in 0..<10 {
                let (bytes, changes) = mutator.mutated(&random)
                let first = try await Self.check(bytes, repair: .all)
                guard let result = first.result, result.isClean else { continue }
                let second = try await Self.check(first.bytes)
                #expect(second.result?.isClean == true, "\(image) seed \(seed): \(changes)")
                #expect(second.messages.isEmpty, "\(image) seed \(seed): \(changes)")
            }
        }
    }

    /// Lines that only programs print, or that older versions word in another way.
    private static func findings(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter { line in
            ["ERROR", "Leaked", "Repairing", "Rebuilding", "Can't"].contains { line.hasPrefix($0) }
        }
    }

    @Test(.enabled(if: !installedPrograms("qemu-img").isEmpty))
    func `findings are those of qemu-img`() async throws {
        let program = try #require(installedPrograms("qemu-img").first)
        let directory = TemporaryDirectory()
        let path = directory.file("image")
        let seed: UInt64 = 17
        var random = SeededGenerator(seed: seed)
        for image in Qcow2Fixtures.small where !image.hasBacking && !image.hasDataFile {
            let mutator = try #require(Qcow2Mutator(image.bytes))
            for _ in 0..<3 {
                let (bytes, changes) = mutator.mutated(&random)
                let ours = try await Self.check(bytes)
                guard let result = ours.result, ours.messages.count < 500 else { continue }
                try store(bytes, path)
                let theirs = run([program, "check", "-f", "qcow2", path], output: directory.file("out"))
                guard theirs.status != 1, theirs.output.utf8.count < 60_000 else { continue }
                let status: Int32 = result.corruptions > 0 ? 2 : result.leaks > 0 ? 3 : 0
                #expect(theirs.status == status, "\(image) seed \(seed): \(changes)")
                #expect(
                    Self.findings(ours.messages.joined(separator: "\n")) == Self.findings(theirs.output),
                    "\(image) seed \(seed): \(changes)")
            }
        }
    }

    private func store(_ bytes: [UInt8], _ path: String) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        #expect(bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) } == bytes.count)
    }
}
