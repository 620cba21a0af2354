import Compression
import Foundation
import Testing

/// Small images of all feature kinds, made by qemu-img and qemu-io; see `iotests/differential/make-qcow2-fixtures.py`.
enum Qcow2Fixtures {
    /// An image.
    struct Image: Sendable, CustomStringConvertible {
        var name: String
        var bytes: [UInt8]

        var description: String { name }
        /// Whether its guest clusters are in an external data file.
        var hasDataFile: Bool { name.hasPrefix("data-file") }
        /// Whether the last words of its name tell of a backing file, which is a raw disk of 256 KiB.
        var hasBacking: Bool { name.contains("backing") }
    }

    /// The images by name.
    static let all: [Image] = {
        guard let url = Bundle.module.url(forResource: "Fixtures/qcow2-images", withExtension: "bin"),
            let data = try? Data(contentsOf: url)
        else { return [] }
        return parse([UInt8](data))
    }()

    /// The images that do not take up megabytes of memory.
    static let small = all.filter { $0.bytes.count < 1 << 20 }

    /// The image of a name.
    static func image(_ name: String) throws -> Image {
        try #require(all.first { $0.name == name })
    }

    private static func parse(_ bytes: [UInt8]) -> [Image] {
        var result: [Image] = []
        var rest = bytes[...]
        func number() -> Int {
            let value = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            return value
        }
        let compressor = Compressor(.zlib)
        while !rest.isEmpty {
            let nameLength = number()
            let name = String(decoding: rest.prefix(nameLength), as: UTF8.self)
            rest = rest.dropFirst(nameLength)
            var image = [UInt8](repeating: 0, count: number())
            let packedLength = number()
            let packed = [UInt8](rest.prefix(packedLength))
            rest = rest.dropFirst(packed.count)
            let isWhole = image.withUnsafeMutableBytes { image in
                packed.withUnsafeBytes { compressor.decompress($0, into: image) }
            }
            if isWhole { result.append(Image(name: name, bytes: image)) }
        }
        return result
    }
}
