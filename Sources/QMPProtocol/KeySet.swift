/// The keys of an object that is being read, to find one that repeats.
///
/// Keys are ranges of the text; from `hashedCount` keys on there is a set of copies, so that look-up is not linear.
struct KeySet: Sendable {
    private static let hashedCount = 16

    private var ranges: [Range<Int>] = []
    private var copies: Set<[UInt8]> = []
    private var open: Range<Int>?

    /// Notes the key of the member that follows.
    mutating func start(_ range: Range<Int>) {
        open = range
    }

    /// Adds the key noted last, now that its member is complete; does nothing where none is open.
    /// - Returns: Whether the key is new.
    mutating func finish(in text: [UInt8]) -> Bool {
        guard let range = open else { return true }
        open = nil
        if ranges.count < Self.hashedCount {
            let isNew = !ranges.contains { text[$0] == text[range] }
            ranges.append(range)
            if ranges.count == Self.hashedCount { copies = Set(ranges.map { Array(text[$0]) }) }
            return isNew
        }
        return copies.insert(Array(text[range])).inserted
    }
}
