import JSON

/// Which of several members that nobody asked for is reported.
///
/// QEMU keeps the names not yet visited in a hash table of GLib's and reports the first in the order of its slots. Found
/// by watching `qemu-storage-daemon` 11.1.3; scripts' recorded outputs show it.
enum UnexpectedOrder {
    /// The largest prime below each power of two from 8, the size of an empty table, to 1024.
    private static let primes: [UInt32] = [7, 13, 31, 61, 127, 251, 509, 1021]

    /// The index of the name to report out of all names of an object; `visited` tells which were asked for.
    static func first(of names: [String], visited: [Bool]) -> Int? {
        let unexpected = visited.indices.filter { !visited[$0] }
        guard unexpected.count > 1, names.count < 512 else { return unexpected.first }
        let order = slots(names)
        return unexpected.min { (order[$0] ?? 0) < (order[$1] ?? 0) }
    }

    /// The slot of each index of `names` in a table that the names were added to in the order of a QDict.
    private static func slots(_ names: [String]) -> [Int: Int] {
        var table: [Int?] = Array(repeating: nil, count: 8)
        var count = 0
        for index in QDictOrder.positions(of: names) {
            insert(index, names, into: &table)
            count += 1
            if table.count <= count + count / 16 {
                let old = table.compactMap { $0 }
                table = Array(repeating: nil, count: size(holding: count))
                for index in old { insert(index, names, into: &table) }
            }
        }
        var result: [Int: Int] = [:]
        for (slot, index) in table.enumerated() {
            if let index { result[index] = slot }
        }
        return result
    }

    private static func insert(_ index: Int, _ names: [String], into table: inout [Int?]) {
        var slot = Int(hash(names[index]) &* 11 % primes[table.count.trailingZeroBitCount - 3])
        var step = 0
        while table[slot] != nil {
            step += 1
            slot = (slot + step) & (table.count - 1)
        }
        table[slot] = index
    }

    /// The size of a table that was enlarged to hold `count` names: the power of two above four thirds of it.
    private static func size(holding count: Int) -> Int {
        var size = 8
        while size <= Int(Double(count) * 1.333) { size *= 2 }
        return min(size, 1024)
    }

    /// The hash function of Daniel J. Bernstein, over bytes with sign.
    private static func hash(_ name: String) -> UInt32 {
        name.utf8.reduce(5381) { $0 &* 33 &+ UInt32(truncatingIfNeeded: Int8(bitPattern: $1)) }
    }
}
