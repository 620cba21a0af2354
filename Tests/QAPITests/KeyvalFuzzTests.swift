import JSON
import Testing

@testable import QAPI

/// A generator of numbers that a printed seed repeats.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct KeyvalFuzzTests {
    private let seeds = [
        "driver=file,filename=/x,,y,node-name=a,cache.direct=on,read-only=off",
        "raw,file.driver=blkdebug,file.inject-error.0.event=none,file.inject-error.1.errno=0x5,offset=1.5K",
        "nbd,id=a,node-name=b,bitmaps.0=x,bitmaps.1.node=n,bitmaps.1.name=m,iothread.00=t,__a.b_c.d=?",
        "a.b.c=1,a.b.d.0=2,a.b.d.1.x=3,help,?,a.e=,,,,f==",
    ]

    private func mutated(_ random: inout SeededGenerator) -> String {
        var bytes = Array(seeds[Int.random(in: 0..<seeds.count, using: &random)].utf8)
        let interesting = Array(",=._-019aZ?{} \u{e9}\0".utf8)
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let at = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes.insert(interesting.randomElement(using: &random) ?? 0, at: at)
            case 1 where at < bytes.count: bytes.remove(at: at)
            case 2 where at < bytes.count: bytes[at] = interesting.randomElement(using: &random) ?? 0
            default:
                let end = Int.random(in: at...bytes.count, using: &random)
                bytes.append(contentsOf: bytes[at..<min(end, at + 40)])
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes parsed keys back as text.
    private func flatten(_ json: JSON, _ key: String, into parts: inout [String]) {
        func below(_ name: String) -> String { key.isEmpty ? name : "\(key).\(name)" }
        switch json {
        case .string(let text):
            parts.append(
                "\(key)=" + text.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,"))
        case .array(let elements):
            for (index, element) in elements.enumerated() { flatten(element, below(String(index)), into: &parts) }
        case .object(let object):
            for (name, value) in object.members { flatten(value, below(name), into: &parts) }
        default: Issue.record("a keyval tree holds no \(json)")
        }
    }

    @Test func `mutated texts never trap, and what they parse to can be written and parsed again`() throws {
        let seed: UInt64 = 20_261_123
        var random = SeededGenerator(state: seed)
        var parsed = 0
        for round in 0..<100_000 {
            let text = mutated(&random)
            guard let keyval = try? Keyval(text, impliedKey: "driver") else { continue }
            parsed += 1
            var parts: [String] = []
            flatten(.object(keyval.object), "", into: &parts)
            let again = try Keyval(parts.joined(separator: ","))
            #expect(again.object == keyval.object, "seed \(seed), round \(round): \(text)")
            _ = KeyvalNumber.size(text)
            _ = KeyvalNumber.signed(text)
        }
        #expect(parsed > 10_000)
    }
}
