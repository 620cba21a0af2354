import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport

@testable import BlockDrivers

/// A chain of images in memory, with what it shows: random lengths, cluster sizes, data, zeroes and discards.
@GraphActor
final class LayerRig {
    let graph = BlockGraph()
    /// The images, the lowest first. The uppermost is writable.
    private(set) var layers: [BlockNode] = []
    /// The memory that the images are in.
    private(set) var disks: [MemoryDriver] = []
    /// What the uppermost image shows.
    private(set) var view: [UInt8] = []
    /// The cluster size of the uppermost image.
    private(set) var clusterSize: Int64 = 65536

    var top: BlockNode { layers[layers.count - 1] }

    /// Makes `depth` images, the uppermost at most `length` bytes long.
    init(depth: Int, length: Int, random: inout SeededGenerator) async throws {
        for level in 0..<depth {
            let isTop = level == depth - 1
            let size =
                isTop || Bool.random(using: &random) ? length : Int.random(in: 1...(length / 512), using: &random) * 512
            if level == 0, Bool.random(using: &random), !isTop {
                try await addRaw(size, &random)
            } else {
                clusterSize = Int64(512 << Int.random(in: 0...7, using: &random))
                try await addImage(size, clusterSize: clusterSize, &random)
            }
            view = Array((view + [UInt8](repeating: 0, count: max(0, size - view.count))).prefix(size))
            try await fill(layers[level], &random, sparse: isTop)
        }
    }

    private func addRaw(_ size: Int, _ random: inout SeededGenerator) async throws {
        let disk = MemoryDriver([UInt8](repeating: 0, count: size))
        disks.append(disk)
        let file = try await graph.openMemory(nil, disk)
        layers.append(
            try await graph.open(name: "layer0", options: NodeOptions()) { node in
                RawDriver.open(RawConfiguration(), in: node, file: file)
            })
    }

    private func addImage(_ size: Int, clusterSize: Int64, _ random: inout SeededGenerator) async throws {
        var abilities = MemoryDriver.Abilities()
        abilities.grows = true
        abilities.yields = true
        let disk = MemoryDriver([], abilities: abilities)
        disks.append(disk)
        var options = Qcow2CreationOptions(size: Int64(size))
        options.clusterSize = clusterSize
        options.extendedL2 = clusterSize >= 16384 && Bool.random(using: &random)
        let file = try await graph.openMemory(nil, disk, isOwnedByMonitor: true)
        try await Qcow2Creator.create(options, file: file)
        let header = try await Qcow2Driver.header(of: file)
        let backing = layers.last
        let nodeOptions = NodeOptions.with { $0.discard = .unmap }
        layers.append(
            try await graph.open(name: "layer\(layers.count)", options: nodeOptions) { node in
                Qcow2Driver.open(
                    Qcow2Configuration(), in: node, header: header, file: file, dataFile: nil, backing: backing)
            })
    }

    /// Writes, zeroes and discards at random.
    private func fill(_ node: BlockNode, _ random: inout SeededGenerator, sparse: Bool) async throws {
        let backend = try graph.attachWriter(node)
        let size = Int(node.length)
        for _ in 0..<Int.random(in: 0...(sparse ? 6 : 12), using: &random) {
            let start = Int.random(in: 0..<size, using: &random)
            let count = Int.random(in: 1...max(1, min(size - start, size / 4)), using: &random)
            let range = Int64(start)..<Int64(start + count)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1, 2:
                let bytes = random.bytes(count)
                try await backend.write(bytes, at: Int64(start))
                view.replaceSubrange(start..<start + count, with: bytes)
            case 3:
                try await backend.write([UInt8](repeating: 0, count: count), at: Int64(start))
                view.replaceSubrange(start..<start + count, with: repeatElement(0, count: count))
            case 4:
                try await backend.writeZeroes(range, flags: .mayUnmap)
                view.replaceSubrange(start..<start + count, with: repeatElement(0, count: count))
            default:
                try await backend.discard(range)
                let inner = range.aligned(inwardTo: node.driver.clusterSize ?? .max)
                for index in inner { view[Int(index)] = 0 }
            }
        }
        try await backend.flush()
        graph.release(backend)
        // A raw file may do what it likes about discards.
        if node.driver is RawDriver { view = try await node.bytes(0..<node.length) }
    }

    /// Closes everything.
    func close() async {
        for backend in graph.backends { await graph.detach(backend) }
        await graph.closeAll()
        for layer in layers.reversed() { await graph.closeIfUnused(layer) }
    }
}
