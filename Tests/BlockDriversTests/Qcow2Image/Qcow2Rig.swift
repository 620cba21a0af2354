import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import Qcow2Format

/// The tables of an image over a disk in memory.
struct Qcow2Rig: Sendable {
    let image: Qcow2Image
    let file: BlockNode
    let node: BlockNode

    /// Opens an image over a disk, which gets a node.
    @GraphActor init(
        _ disk: any BlockDriver, in fixture: GraphFixture, _ configuration: Qcow2Configuration = Qcow2Configuration(),
        isReadOnly: Bool = false, discards: Bool = false
    ) async throws {
        var options = NodeOptions()
        options.discard = discards ? .unmap : .ignore
        file = try await fixture.open("file\(fixture.graph.nodes.count)", options: options, disk)
        options.isReadOnly = isReadOnly
        node = try await fixture.graph.openFormat(
            "image\(fixture.graph.nodes.count)", over: file, options: options, isOwnedByMonitor: true)
        let header = try await Qcow2Image.readHeader(of: file)
        image = try await Qcow2Image.open(
            configuration, header: header, in: node, file: node.children[0], dataFile: nil)
    }

    /// Writes a guest cluster of one byte to a new host cluster and lets the table refer to it; what was there is released.
    func put(_ guestCluster: Int, _ byte: UInt8) async throws(Errno) {
        let size = image.geometry.clusterSize
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let range = try await image.allocateClusters(atMost: 1)
        do throws(Errno) {
            try await image.checkOverlap(of: range)
            try await file.write(pattern(Int(size), byte), at: range.lowerBound)
            let old = try await image.changeEntries(at: Int64(guestCluster) * size) { (slice) throws(Errno) -> UInt64 in
                let index = slice.index(of: Int64(guestCluster) * size)
                defer { slice[index] = .standard(range.lowerBound, isExtended: image.geometry.hasSubclusters) }
                return slice[index].rawValue
            }
            image.releaseStandard(old)
        } catch {
            image.abandon(range)
            throw error
        }
    }

    /// Unmaps a guest cluster.
    func drop(_ guestCluster: Int) async throws(Errno) {
        let size = image.geometry.clusterSize
        let epoch = image.beginRequest()
        defer { image.endRequest(epoch) }
        let old = try await image.changeEntries(at: Int64(guestCluster) * size) { (slice) throws(Errno) -> UInt64 in
            let index = slice.index(of: Int64(guestCluster) * size)
            defer { slice[index] = L2Entry(rawValue: 0, subclusters: 0) }
            return slice[index].rawValue
        }
        image.releaseStandard(old)
    }

    /// The entry of a guest cluster; nil where there is no L2 table.
    func entry(_ guestCluster: Int) async throws(Errno) -> UInt64? {
        let offset = Int64(guestCluster) * image.geometry.clusterSize
        return try await image.withEntries(at: offset) { (slice) throws(Errno) -> UInt64? in
            slice.map { $0[$0.index(of: offset)].rawValue }
        }
    }
}

extension L2Entry {
    static func standard(_ offset: Int64, isExtended: Bool) -> L2Entry {
        L2Entry(rawValue: UInt64(offset) | 1 << 63, subclusters: isExtended ? 0xFFFF_FFFF : 0)
    }
}

extension Qcow2Image {
    /// Releases the cluster of a standard entry.
    func releaseStandard(_ entry: UInt64) {
        let offset = Int64(entry & 0x00FF_FFFF_FFFF_FE00)
        if offset != 0 { release(offset..<offset + geometry.clusterSize, reason: .other) }
    }
}
