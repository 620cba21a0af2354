import BlockGraph
import IOLoop

/// The format of an image, as its first bytes tell it.
enum ImageFormat {
    /// How many bytes are looked at.
    static let probeLength = 2048

    /// The magic numbers of formats, where they stand, and the names of the formats.
    ///
    /// Formats that the daemon does not know are here as well: their images must not pass for raw ones.
    private static let magics: [(offset: Int, bytes: [UInt8], name: String)] = [
        (0, [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1], "qcow"),
        (0, Array("QED\0".utf8), "qed"),
        (0, Array("KDMV".utf8), "vmdk"),
        (0, Array("COWD".utf8), "vmdk"),
        (0, Array("# Disk DescriptorFile".utf8), "vmdk"),
        (0, Array("vhdxfile".utf8), "vhdx"),
        (0, Array("conectix".utf8), "vpc"),
        (0, Array("LUKS".utf8) + [0xBA, 0xBE], "luks"),
        (0, Array("WithoutFreeSpace".utf8), "parallels"),
        (0, Array("WithouFreSpacExt".utf8), "parallels"),
        (0, Array("Bochs Virtual HD Image".utf8), "bochs"),
        (64, [0x7F, 0x10, 0xDA, 0xBE], "vdi"),
    ]

    /// The driver for an image that starts with these bytes; "raw" where nothing else is found.
    static func name(ofImageStartingWith bytes: [UInt8]) -> String {
        func holds(_ offset: Int, _ magic: [UInt8]) -> Bool {
            bytes.count >= offset + magic.count && bytes[offset..<offset + magic.count].elementsEqual(magic)
        }
        if holds(0, [0x51, 0x46, 0x49, 0xFB]), bytes.count >= 8, bytes[4..<8].contains(where: { $0 != 0 }),
            !bytes[4..<8].elementsEqual([0, 0, 0, 1])
        {
            return "qcow2"
        }
        return magics.first { holds($0.offset, $0.bytes) }?.name ?? "raw"
    }

    /// The driver for the image in a node. Error: its start cannot be read.
    @GraphActor
    static func probe(_ node: BlockNode) async throws(BlockError) -> String {
        let count = Int(min(node.length, Int64(probeLength)))
        guard count > 0 else { return "raw" }
        let buffer = BufferPool.shared.take(count: count)
        defer { BufferPool.shared.give(buffer) }
        do {
            try await node.read(0..<Int64(count), into: buffer)
        } catch {
            throw BlockError("Could not read image for determining its format", causedBy: error)
        }
        return name(ofImageStartingWith: Array(buffer.bytes))
    }
}
