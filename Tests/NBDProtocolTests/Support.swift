import NBDProtocol

/// Big-endian bytes of integers.
func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

/// An option as a client sends it.
func option(_ code: UInt32, _ data: [UInt8] = [], length: UInt32? = nil) -> [UInt8] {
    bytes(NBD.optionMagic) + bytes(code) + bytes(length ?? UInt32(data.count)) + data
}

/// Data of `NBD_OPT_GO` and `NBD_OPT_INFO`.
func goData(_ name: String, _ infos: [NBDInfoType] = []) -> [UInt8] {
    bytes(UInt32(name.utf8.count)) + Array(name.utf8) + bytes(UInt16(infos.count))
        + infos.flatMap { bytes($0.rawValue) }
}

/// Data of the two meta context options.
func metaData(_ name: String, _ queries: [String]) -> [UInt8] {
    bytes(UInt32(name.utf8.count)) + Array(name.utf8) + bytes(UInt32(queries.count))
        + queries.flatMap { bytes(UInt32($0.utf8.count)) + Array($0.utf8) }
}

/// One parsed option reply.
struct OptionReply: Equatable {
    var option: UInt32
    var type: UInt32
    var data: [UInt8]

    var text: String { String(decoding: data, as: UTF8.self) }
}

/// The option replies in `bytes`, up to anything else.
func replies(_ bytes: [UInt8]) -> [OptionReply] {
    var result: [OptionReply] = []
    var rest = bytes[...]
    func take<T: FixedWidthInteger>(_ type: T.Type) -> T {
        defer { rest = rest.dropFirst(T.bitWidth / 8) }
        return rest.prefix(T.bitWidth / 8).reduce(0) { $0 << 8 | T($1) }
    }
    while !rest.isEmpty {
        guard take(UInt64.self) == NBD.optionReplyMagic else { break }
        let option = take(UInt32.self)
        let type = take(UInt32.self)
        let length = Int(take(UInt32.self))
        result.append(OptionReply(option: option, type: type, data: Array(rest.prefix(length))))
        rest = rest.dropFirst(length)
    }
    return result
}

/// The bytes that `fill` appends.
func encoded(_ capacity: Int = 4096, _ fill: (inout OutputRawSpan) -> Void) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
    defer { memory.deallocate() }
    var out = OutputRawSpan(buffer: memory, initializedCount: 0)
    fill(&out)
    let count = out.finalize(for: memory)
    return Array(memory[..<count])
}

/// A small generator with a seed, so that failures repeat.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
