import BlockTestSupport
import Compression
import Glibc
import StorageTestSupport
import Testing

/// Clusters that `qemu-img` compressed, and clusters that it has to decompress.
@Suite struct QEMUCompressionTests {
    private let directory = TemporaryDirectory()

    /// An image file in memory.
    private struct Image {
        var bytes: [UInt8]

        func word(at offset: Int) -> UInt64 {
            bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }

        /// The guest offsets and the extents of the compressed clusters. Spec: qcow2.txt, compressed clusters descriptor
        func compressedClusters() -> [(guest: Int, extent: Range<Int>)] {
            let bits = Int(bytes[23])
            let offsetBits = 62 - (bits - 8)
            var found: [(guest: Int, extent: Range<Int>)] = []
            for l1Index in 0..<Int(word(at: 32) & 0xFFFF_FFFF) {
                let table = Int(word(at: Int(word(at: 40)) + l1Index * 8) & 0x00FF_FFFF_FFFF_FE00)
                guard table != 0 else { continue }
                for l2Index in 0..<1 << (bits - 3) {
                    let entry = word(at: table + l2Index * 8)
                    guard entry >> 62 & 1 == 1 else { continue }
                    let offset = Int(entry & (1 << UInt64(offsetBits) - 1))
                    let sectors = Int((entry & (1 << 62 - 1)) >> UInt64(offsetBits))
                    let end = min(bytes.count, (offset / 512 + 1 + sectors) * 512)
                    found.append(((l1Index << (bits - 3) + l2Index) << bits, offset..<end))
                }
            }
            return found
        }
    }

    private func write(_ bytes: [UInt8], to name: String) {
        guard let file = fopen(directory.file(name), "w") else { return }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    private func read(_ name: String) -> [UInt8] {
        guard let file = fopen(directory.file(name), "r") else { return [] }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 24)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes.prefix(count))
    }

    @Test(arguments: CompressionKind.allCases, [512, 65536, 1 << 21])
    func `clusters are exchanged both ways`(kind: CompressionKind, clusterSize: Int) throws {
        var generator = SeededGenerator(seed: 7)
        let length = min(2 << 20, clusterSize * 256)
        var disk: [UInt8] = []
        while disk.count < length {
            disk += generator.next() % 2 == 0 ? generator.bytes(300) : [UInt8](repeating: 65, count: 700)
        }
        disk = Array(disk.prefix(length))
        write(disk, to: "disk")
        for (number, program) in installedPrograms("qemu-img").enumerated() {
            let name = "image\(number)"
            let conversion = run(
                [
                    program, "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                    "cluster_size=\(clusterSize),compression_type=\(kind.rawValue)", directory.file("disk"),
                    directory.file(name),
                ], output: directory.file("log"))
            try #require(conversion.status == 0, "\(conversion.output)")
            var image = Image(bytes: read(name))
            let clusters = image.compressedClusters()
            try #require(clusters.count > length / clusterSize / 2)
            let compressor = Compressor(kind)
            var output = [UInt8](repeating: 0, count: clusterSize)
            for (guest, extent) in clusters {
                let isComplete = image.bytes[extent].withUnsafeBytes { input in
                    output.withUnsafeMutableBytes { compressor.decompress(input, into: $0) }
                }
                let isRight = isComplete && output[...] == disk[guest..<guest + clusterSize]
                #expect(isRight)
                // Ours in its place, so that the program must read it.
                let packed = disk[guest..<guest + clusterSize].withUnsafeBytes { input in
                    output.withUnsafeMutableBytes { compressor.compress(input, into: $0) }
                }
                let count = try #require(packed)
                try #require(count <= extent.count)
                image.bytes.replaceSubrange(extent.prefix(count), with: output.prefix(count))
            }
            write(image.bytes, to: name)
            let comparison = run(
                [program, "compare", directory.file("disk"), directory.file(name)], output: directory.file("log"))
            #expect(comparison.status == 0, "\(comparison.output)")
        }
    }
}
