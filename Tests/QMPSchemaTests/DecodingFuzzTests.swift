import JSON
import QAPI
import QMPSchema
import Testing

/// A generator of numbers that a printed seed repeats.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct DecodingFuzzTests {
    private static let names = [
        "driver", "file", "filename", "target", "bitmap", "node", "name", "cache", "direct", "image", "inject-error",
        "event", "state", "size", "latency-ns", "max-transfer", "take-child-perms", "read-only", "discard", "aio",
        "throttle-group", "cbw-timeout", "min-cluster-size", "node-name", "x",
    ]
    private static let scalars: [JSON] = [
        "file", "raw", "blkdebug", "copy-before-write", "null-co", "none", "on", "off", "write", "", "1K", "0x10", true,
        false, nil, 0, -1, 1, 2_147_483_648, .integer(.max), .integer(.min), .unsigned(.max), .number(1.5),
        .number(.infinity),
    ]

    private func value(_ depth: Int, _ random: inout SeededGenerator) -> JSON {
        switch Int.random(in: 0..<(depth > 4 ? 4 : 8), using: &random) {
        case 0..<4: return Self.scalars.randomElement(using: &random) ?? nil
        case 4: return .array((0..<Int.random(in: 0...3, using: &random)).map { _ in value(depth + 1, &random) })
        default: return .object(object(depth, &random))
        }
    }

    private func object(_ depth: Int, _ random: inout SeededGenerator) -> JSONObject {
        var object = JSONObject()
        let drivers: [JSON] = ["file", "raw", "blkdebug", "copy-before-write", "null-co", "throttle"]
        object["driver"] = drivers.randomElement(using: &random)
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            object[Self.names.randomElement(using: &random) ?? ""] = value(depth + 1, &random)
        }
        return object
    }

    @Test(arguments: [QAPIMode.strict, .keyval])
    func `whatever decodes encodes to what decodes to the same`(mode: QAPIMode) throws {
        let seed: UInt64 = 257
        var random = SeededGenerator(state: seed)
        var decoded = 0
        for round in 0..<20_000 {
            let object = object(0, &random)
            guard let options = try? BlockdevOptions(decoding: object, mode: mode) else { continue }
            decoded += 1
            let again = try BlockdevOptions(decoding: options.encodeMembers())
            #expect(again == options, "seed \(seed), round \(round): \(JSON.object(object))")
        }
        #expect(decoded > 100)
    }

    @Test func `options may nest as deep as JSON`() throws {
        var json: JSON = ["driver": "null-co"]
        for _ in 0..<1020 { json = ["driver": "raw", "file": json] }
        let options = try BlockdevOptions(decoding: QAPIValue(json))
        #expect(options.encode() == json)
    }
}
