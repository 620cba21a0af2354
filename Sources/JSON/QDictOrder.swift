/// The order in which QEMU prints the members of an object, and so the order of Cairn's replies.
///
/// QEMU keeps the members of a dictionary in 512 buckets chosen by the hash function that the TDB database made public,
/// and prints bucket after bucket. Within a bucket the member that was added last comes first. Scripts compare replies
/// with recorded ones byte for byte, hence the order matters to them although JSON gives it no meaning.
public enum QDictOrder {
    /// The number of buckets.
    private static let bucketCount: UInt32 = 512

    /// The bucket, from 0 to 511, that a member with this name falls in.
    public static func bucket(of name: String) -> UInt32 {
        var name = name
        return name.withUTF8 { bytes in
            var value = 0x238F_13AF &* UInt32(truncatingIfNeeded: bytes.count)
            var shift: UInt32 = 0
            for byte in bytes {
                value &+= UInt32(bitPattern: Int32(byte)) << shift
                shift = (shift + 5) % 24
            }
            return (1_103_515_243 &* value &+ 12345) % bucketCount
        }
    }

    /// The positions of the names in the order in which the members are printed.
    ///
    /// Use this to find once how to write an object whose members are fixed.
    /// - Parameter names: The names in the order in which the members were added to the object.
    public static func positions(of names: some Collection<String>) -> [Int] {
        let buckets = names.map(bucket(of:))
        return buckets.indices.sorted { buckets[$0] != buckets[$1] ? buckets[$0] < buckets[$1] : $0 > $1 }
    }
}
