/// One entry of the feature name table. Spec: qcow2.txt, "Feature name table".
public struct Qcow2FeatureName: Sendable, Hashable {
    /// The bit mask that a name belongs to.
    public enum Kind: UInt8, Sendable, Hashable {
        /// Incompatible features.
        case incompatible = 0
        /// Compatible features.
        case compatible = 1
        /// Autoclear features.
        case autoclear = 2
    }

    /// Bytes of an entry.
    public static let size = 48

    /// The mask as stored; ``kind`` names it.
    public var type: UInt8
    /// The bit number in the mask as stored; valid are 0 to 63.
    public var bit: UInt8
    /// The name, at most 46 bytes.
    public var name: String

    /// The mask, or nil if the number is unknown.
    public var kind: Kind? { Kind(rawValue: type) }

    /// Makes an entry.
    public init(_ kind: Kind, bit: UInt8, name: String) {
        self.type = kind.rawValue
        self.bit = bit
        self.name = name
    }

    /// Reads the whole entries at the start of an extension's data; a rest that is no whole entry is a last name.
    public static func table(_ data: [UInt8]) -> [Qcow2FeatureName] {
        stride(from: 0, to: data.count, by: size).compactMap { start in
            let entry = data[start..<min(start + size, data.count)]
            guard entry.count > 2 else { return nil }
            let name = entry.dropFirst(2).prefix { $0 != 0 }
            var result = Qcow2FeatureName(
                .incompatible, bit: entry[start + 1], name: String(decoding: name, as: UTF8.self))
            result.type = entry[start]
            return result
        }
    }

    /// The table that QEMU writes into each version 3 image.
    public static let known: [Qcow2FeatureName] = [
        Qcow2FeatureName(.incompatible, bit: 0, name: "dirty bit"),
        Qcow2FeatureName(.incompatible, bit: 1, name: "corrupt bit"),
        Qcow2FeatureName(.incompatible, bit: 2, name: "external data file"),
        Qcow2FeatureName(.incompatible, bit: 3, name: "compression type"),
        Qcow2FeatureName(.incompatible, bit: 4, name: "extended L2 entries"),
        Qcow2FeatureName(.compatible, bit: 0, name: "lazy refcounts"),
        Qcow2FeatureName(.autoclear, bit: 0, name: "bitmaps"),
        Qcow2FeatureName(.autoclear, bit: 1, name: "raw external data"),
    ]

    /// The data of the extension that holds `names`; longer names than 46 bytes are cut.
    public static func encoded(_ names: [Qcow2FeatureName]) -> [UInt8] {
        var data: [UInt8] = []
        for name in names {
            data.append(name.type)
            data.append(name.bit)
            data.append(contentsOf: name.name.utf8.prefix(size - 2))
            data.pad(to: size)
        }
        return data
    }
}
