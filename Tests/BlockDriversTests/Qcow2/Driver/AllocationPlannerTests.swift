import BlockGraph
import Qcow2Format
import Testing

@testable import BlockDrivers

@Suite struct AllocationPlannerTests {
    /// Plans a write to the first clusters of a table with the entries.
    private static func plan(
        _ range: ByteRange, _ entries: [L2Entry], clusterBits: Int = 16, hasSubclusters: Bool = false,
        hasDataFile: Bool = false
    ) -> AllocationPlan {
        let geometry = Qcow2Geometry(clusterBits: clusterBits, hasSubclusters: hasSubclusters, hasDataFile: hasDataFile)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        var slice = L2Slice(
            guestOffset: 0, hostOffset: 0, memory: memory, layout: Qcow2Layout(geometry, l2PartSize: 4096))
        for (index, entry) in entries.enumerated() { slice[index] = entry }
        return AllocationPlanner(geometry: geometry).plan(range, slice)
    }

    private static func host(_ offset: Int64, isCopied: Bool = true, subclusters: UInt64 = 0) -> L2Entry {
        L2Entry(hostOffset: offset, isCopied: isCopied, subclusters: subclusters)
    }

    @Test func `a small write to nothing brings the rest of its cluster`() {
        let plan = Self.plan(0x1_2000..<0x1_3000, [])
        #expect(plan.place == .new)
        #expect(plan.clusters == 0x1_0000..<0x2_0000)
        #expect(plan.head == 0x1_0000..<0x1_2000)
        #expect(plan.tail == 0x1_3000..<0x2_0000)
    }

    @Test func `whole clusters bring nothing`() {
        let plan = Self.plan(0x1_0000..<0x4_0000, [])
        #expect(plan.head.isEmpty && plan.tail.isEmpty)
        #expect(plan.clusters == 0x1_0000..<0x4_0000)
    }

    @Test func `a write over a compressed cluster keeps to the cluster`() throws {
        let geometry = Qcow2Geometry(clusterBits: 16)
        let entry = try #require(L2Entry(compressedAt: 0x5_0000, byteCount: 700, geometry))
        let plan = Self.plan(0x100..<0x200, [entry])
        #expect(plan.place == .new)
        #expect(plan.written == 0..<0x1_0000)
    }

    @Test func `a compressed cluster brings all its subclusters`() throws {
        let geometry = Qcow2Geometry(clusterBits: 16, hasSubclusters: true)
        let entry = try #require(L2Entry(compressedAt: 0x5_0000, byteCount: 700, geometry))
        let plan = Self.plan(0x1000..<0x1800, [entry], hasSubclusters: true)
        #expect(plan.written == 0..<0x1_0000)
    }

    @Test func `a run ends where clusters are in place`() {
        let plan = Self.plan(0..<0x3_0000, [L2Entry(), Self.host(0x5_0000)])
        #expect(plan.place == .new)
        #expect(plan.data == 0..<0x1_0000)
        #expect(plan.tail.isEmpty)
    }

    @Test func `a zero cluster with a place is written there`() {
        var entry = Self.host(0x5_0000)
        entry.zeroFlag = true
        let plan = Self.plan(0x1000..<0x2000, [entry])
        #expect(plan.place == .existing(0x5_0000))
        #expect(plan.written == 0..<0x1_0000)
    }

    @Test func `zero clusters in a row on disk are one run, others are not`() {
        var (first, second, third) = (Self.host(0x5_0000), Self.host(0x6_0000), Self.host(0x9_0000))
        first.zeroFlag = true
        second.zeroFlag = true
        third.zeroFlag = true
        let plan = Self.plan(0..<0x3_0000, [first, second, third])
        #expect(plan.place == .existing(0x5_0000))
        #expect(plan.clusters == 0..<0x2_0000)
    }

    @Test func `shared clusters are replaced`() {
        let plan = Self.plan(0x1000..<0x2000, [Self.host(0x5_0000, isCopied: false)])
        #expect(plan.place == .new)
        #expect(plan.written == 0..<0x1_0000)
    }

    @Test func `a write between allocated subclusters brings only the rest of its own`() {
        // Subclusters of 2 KiB: 0 and 1 are there.
        let entry = Self.host(0x5_0000, subclusters: 0b11)
        let plan = Self.plan(0x800..<0x1400, [entry], hasSubclusters: true)
        #expect(plan.place == .existing(0x5_0000))
        #expect(plan.head.isEmpty)
        #expect(plan.tail == 0x1400..<0x1800)
    }

    @Test func `a shared cluster brings all its allocated subclusters`() {
        let entry = Self.host(0x5_0000, isCopied: false, subclusters: 1 << 1 | 1 << 31)
        let plan = Self.plan(0x2000..<0x2800, [entry], hasSubclusters: true)
        #expect(plan.place == .new)
        #expect(plan.written == 0x800..<0x1_0000)
    }

    @Test func `subclusters that are there are written in place`() {
        let entry = Self.host(0x5_0000, subclusters: 0b110)
        #expect(Self.plan(0x900..<0x1700, [entry], hasSubclusters: true).place == .inPlace)
        #expect(Self.plan(0x700..<0x1700, [entry], hasSubclusters: true).place != .inPlace)
    }

    @Test func `clusters of a data file have a place of their own`() {
        let plan = Self.plan(0x1_1000..<0x2_1000, [], hasDataFile: true)
        #expect(plan.place == .existing(0x1_0000))
        #expect(plan.clusters == 0x1_0000..<0x3_0000)
    }

    @Test func `entries after a write say what is there`() {
        let geometry = Qcow2Geometry(clusterBits: 16, hasSubclusters: true)
        let planner = AllocationPlanner(geometry: geometry)
        let zero = L2Entry(rawValue: 0, subclusters: UInt64(UInt32.max) << 32)
        let new = planner.entry(after: zero, 0x800..<0x1000, clusterStart: 0, host: 0x7_0000, isNew: true)
        #expect(new.hostOffset == 0x7_0000 && new.isCopied)
        #expect(new.allocationBits == 0b10)
        #expect(new.zeroBits == ~0b10)
        let more = planner.entry(after: new, 0..<0x1_0000, clusterStart: 0, host: 0x7_0000, isNew: false)
        #expect(more.allocationBits == .max && more.zeroBits == 0)
    }
}
