import Testing

@testable import QAPI

@Suite struct KeyvalNumberTests {
    static let integers: [(text: String, value: Int64)] = [
        ("0", 0), ("-0", 0), ("0x10", 16), ("0X1F", 31), ("010", 8), ("+5", 5), (" 5", 5), ("-5", -5),
        ("9223372036854775807", Int64.max), ("-9223372036854775808", Int64.min),
    ]

    @Test(arguments: integers) func `integers are decimal, octal or hexadecimal`(text: String, value: Int64) {
        #expect(KeyvalNumber.signed(text) == value)
    }

    @Test(arguments: [
        "", "08", "5 ", "--1", "1e3", "1.5", "1K", "0x", "9223372036854775808", "-9223372036854775809", "é",
        "18446744073709551616",
    ]) func `other texts are no integers`(text: String) {
        #expect(KeyvalNumber.signed(text) == nil)
    }

    @Test func `integers without sign count down from 2^64 below zero`() {
        #expect(KeyvalNumber.unsigned("-1") == UInt64.max)
        #expect(KeyvalNumber.unsigned("-18446744073709551615") == 1)
        #expect(KeyvalNumber.unsigned("18446744073709551615") == UInt64.max)
        #expect(KeyvalNumber.unsigned("18446744073709551616") == nil)
    }

    static let sizes: [(text: String, value: UInt64)] = [
        ("1", 1), ("1b", 1), ("1B", 1), ("1K", 1024), ("1k", 1024), ("1.5K", 1536), ("0.1K", 102), ("1.K", 1024),
        (".5K", 512), ("1M", 0x100000), ("1G", 0x40000000), ("1T", 0x10000000000), ("1P", 0x4000000000000),
        ("1E", 0x1000000000000000),
        ("0x10", 16), ("+1", 1), (" 1", 1), ("07", 7), ("1.0", 1), ("9007199254740993", 9_007_199_254_740_993),
        ("18446744073709551615", UInt64.max), ("15.5E", 0xf800000000000000),
    ]

    @Test(arguments: sizes) func `sizes may have a fraction and a unit`(text: String, value: UInt64) {
        #expect(KeyvalNumber.size(text) == value)
    }

    @Test(arguments: [
        "", "K", "1Kb", "1KiB", "0x10K", "1e3", "-1", "16E", "18446744073709551616", "1.5", "1 K", "é", ".", "x",
    ]) func `other texts are no sizes`(text: String) {
        #expect(KeyvalNumber.size(text) == nil)
    }
}
