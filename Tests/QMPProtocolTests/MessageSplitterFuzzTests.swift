import JSON
import QMPProtocol
import StorageTestSupport
import Testing

@Suite struct MessageSplitterFuzzTests {
    private static let seeds: [[UInt8]] = [
        #"{"execute":"blockdev-add","arguments":{"driver":"raw","file":{"driver":"file"}},"id":[1,-2.5e3]}"#,
        #"{'a':'\'\u00e9\ud83d\ude00é€','b':[true,false,null,0,18446744073709551615],"c":{}}"#,
        "{\"x\":\"\\u0000\\n\\t\\\\\"}\n[[],[[1]]] \"s\" 12 true\r\n{\"a\":1,\"b\":2,\"a\":3}",
    ].map { Array($0.utf8) }

    private static let fragments: [[UInt8]] =
        [
            "{", "}", "[", "]", ",", ":", "\"", "'", "\\", "\\u", "ud800", "0", "1e", "-", ".", "tru", "null", " ",
            "\n", "%", "\"a\":",
        ]
        .map { Array($0.utf8) } + [
            [0xFF], [0xFE], [0x00], [0x01], [0xC3], [0xE2, 0x82], [0xF0, 0x9F], [0x80], [0xC0, 0x80],
        ]

    private func mutated(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Self.seeds[Int.random(in: 0..<Self.seeds.count, using: &random)]
        let cut = Int.random(in: 0..<bytes.count, using: &random)
        bytes = Array(bytes[cut..<min(bytes.count, cut + 40)])
        for _ in 0..<Int.random(in: 1...5, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0 where place < bytes.count: bytes.remove(at: place)
            case 1 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes.insert(contentsOf: bytes[..<place], at: place)
            default:
                let fragment = Self.fragments[Int.random(in: 0..<Self.fragments.count, using: &random)]
                bytes.insert(contentsOf: fragment, at: place)
            }
        }
        return bytes
    }

    private func items(_ bytes: [UInt8], _ pieceSize: () -> Int) -> [MessageSplitter.Item] {
        var splitter = MessageSplitter()
        var items: [MessageSplitter.Item] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + pieceSize())
            splitter.feed(bytes[start..<end])
            while let item = splitter.next() { items.append(item) }
            start = end
        }
        return items
    }

    private func reparsed(_ values: [MessageSplitter.Item]) -> [MessageSplitter.Item] {
        var text: [UInt8] = []
        for case .value(let value) in values { text += value.encoded(order: .insertion) + [UInt8(ascii: "\n")] }
        return items(text) { .max / 2 }
    }

    @Test func `a hundred thousand mutated inputs: no trap, and pieces make no difference`() {
        let seed: UInt64 = 257
        var random = SeededGenerator(seed: seed)
        for round in 0..<100_000 {
            let bytes = mutated(&random)
            let whole = items(bytes) { .max / 2 }
            var pieces = random
            let split = round % 2 == 0 ? items(bytes) { 1 } : items(bytes) { Int.random(in: 1...9, using: &pieces) }
            if whole != split {
                Issue.record("seed \(seed) round \(round): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
                return
            }
            for case .value(let value) in whole {
                // Once through the encoder, -0.0 has become 0 and 1.0 an integer; from then on nothing changes.
                let settled = reparsed([.value(value)])
                if settled.count != 1 || reparsed(settled) != settled {
                    Issue.record("seed \(seed) round \(round): \(value) does not survive encoding")
                }
            }
        }
    }
}
