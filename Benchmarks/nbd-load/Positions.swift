/// The steps that requests take, in order.
struct Positions {
    private let steps: UInt64
    private let isRandom: Bool
    private let once: Bool
    private var left: Int
    private var generator: SplitMix
    private var taken: UInt64 = 0
    /// With `once` at random: the steps, of which those from `taken` on are still to be shuffled.
    private var order: [UInt32] = []

    /// - Parameters:
    ///   - steps: how many there are, at least 1; below 2^32 if each is taken once at random.
    ///   - limit: of requests.
    init(steps: UInt64, isRandom: Bool, once: Bool, limit: Int, seed: UInt64) {
        self.steps = steps
        self.isRandom = isRandom
        self.once = once
        left = once ? min(limit, Int(steps)) : limit
        generator = SplitMix(state: seed)
        if once, isRandom { order = Array(0..<UInt32(steps)) }
    }

    /// The next step, or nil at the end.
    mutating func next() -> UInt64? {
        guard left > 0 else { return nil }
        left -= 1
        defer { taken += 1 }
        guard isRandom else { return taken % steps }
        guard once else { return generator.next() % steps }
        let index = Int(taken)
        order.swapAt(index, index + Int(generator.next() % (steps - taken)))
        return UInt64(order[index])
    }
}

/// Random numbers from a seed, always the same ones. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}
