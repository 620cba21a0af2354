import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import Qcow2Format
import Testing

/// An error of any single request to the file, or of all from one on, costs at most leaked clusters.
@Suite struct Qcow2ImageFaultTests {
    static let shapes: [Qcow2ImageBytes.Shape] = [
        .init(clusterBits: 9, refcountOrder: 5, clusterCount: 3000), .init(clusterBits: 12, clusterCount: 800),
    ]

    /// Runs a workload in which requests with the numbers fail; the requests that there were.
    private func run(
        _ shape: Qcow2ImageBytes.Shape, seed: UInt64, failing: Range<Int>, error: Errno = .EIO
    ) async throws -> Int {
        let start = Qcow2ImageBytes(shape)
        let disk = RecordingDisk(start.bytes)
        let workload = Qcow2Workload(clusterCount: shape.clusterCount, compresses: true)
        try await GraphFixture.run { fixture in
            var configuration = Qcow2Configuration()
            configuration.l2CacheSize = 2048
            configuration.l2CacheEntrySize = 512
            let rig = try await Qcow2Rig(disk, in: fixture, configuration)
            let first = disk.requestCount
            disk.fail(failing.lowerBound + first..<failing.upperBound.clampedAdd(first), with: error)
            _ = await workload.run(rig, disk, steps: 40, seed: seed)
            for _ in 0..<3 { try? await rig.image.makeClean() }
        }
        let final = Qcow2ImageBytes(disk.bytes)
        let findings = Qcow2Findings(final)
        #expect(findings.errors.isEmpty, "seed \(seed), failing \(failing): \(findings)")
        let places: [Int]
        if failing.count <= 1 {
            places = workload.histories.map(\.count)
        } else {
            places = workload.commits.last ?? Array(repeating: 1, count: shape.clusterCount)
        }
        let problems = workload.problems(final, since: places)
        #expect(problems.isEmpty, "seed \(seed), failing \(failing): \(problems.prefix(5))")
        return disk.requestCount
    }

    @Test(arguments: shapes, [Errno.EIO, .ENOSPC])
    func `any single request may fail`(shape: Qcow2ImageBytes.Shape, error: Errno) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let count = try await run(shape, seed: seed, failing: 0..<0)
        for number in 0..<count { _ = try await run(shape, seed: seed, failing: number..<number + 1, error: error) }
    }

    @Test(arguments: shapes) func `the file may stop working at any time`(shape: Qcow2ImageBytes.Shape) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let count = try await run(shape, seed: seed, failing: 0..<0)
        for number in 0..<count { _ = try await run(shape, seed: seed, failing: number..<Int.max) }
    }
}

extension Int {
    fileprivate func clampedAdd(_ other: Int) -> Int { self == .max ? .max : self + other }
}
