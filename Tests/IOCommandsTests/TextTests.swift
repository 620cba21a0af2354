import Testing

@testable import IOCommands

@Suite struct TextTests {
    @Test(arguments: [
        (0, "0 bytes"), (1, "1 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1025, "1.001 KiB"), (1536, "1.500 KiB"),
        (1_048_575, "1023.999 KiB"), (1_048_576, "1 MiB"), (1_073_741_824, "1 GiB"), (0.352174, "0.352174 bytes"),
        (0.0003, "0 bytes"), (342.54221, "342.542210 bytes"), (1_152_921_504_606_846_976, "1 EiB"),
        (9_223_372_036_854_775_808, "8 EiB"), (1_180_591_620_717_411_303_424, "1024 EiB"),
    ])
    func `sizes for people`(value: Double, text: String) {
        #expect(ByteCount.text(value) == text)
    }

    @Test(
        arguments: [
            ("0", 0), ("1k", 1024), ("1K", 1024), ("0x1f", 31), ("010", 10), ("1.5k", 1536), ("1.0", 1), ("1.", 1),
            (".5k", 512), ("0.0001k", 0), ("0.9999k", 1024), ("1.99999999999999999999k", 2048), ("7E", 7 << 60),
            ("+5", 5),
            ("1b", 1), ("9223372036854775807", Int64.max), ("0x7fffffffffffffff", Int64.max),
        ] as [(String, Int64)])
    func `numbers of bytes`(text: String, value: Int64) throws {
        #expect(try ByteCount.parse(text) == value)
    }

    @Test(arguments: [
        "", "x", "1.5", "1.5b", "1kk", "0x", "0x1k", "1e3", ".", ".k", "-k", "--", "-0x1", "1 ", "1.5.5k",
    ])
    func `what is no number of bytes`(text: String) {
        #expect(throws: ByteCount.ParseError.malformed) { try ByteCount.parse(text) }
    }

    @Test(arguments: ["-1", "-0", "8E", "16E", "9223372036854775808", "99999999999999999999", "0x8000000000000000"])
    func `numbers of bytes out of range`(text: String) {
        #expect(throws: ByteCount.ParseError.outOfRange) { try ByteCount.parse(text) }
    }

    @Test(arguments: [
        (1_000_000_000, "1 KiB, 1 ops; 01.00 sec (1 KiB/sec and 1.0000 ops/sec)"),
        (10_000_000, "1 KiB, 1 ops; 00.01 sec (100 KiB/sec and 100.0000 ops/sec)"),
        (59_999_999_999, "1 KiB, 1 ops; 59.99 sec (17.066667 bytes/sec and 0.0167 ops/sec)"),
        (60_000_000_000, "1 KiB, 1 ops; 0:01:00.00 (17.066667 bytes/sec and 0.0167 ops/sec)"),
        (3_723_040_000_000, "1 KiB, 1 ops; 1:02:03.04 (0.275044 bytes/sec and 0.0003 ops/sec)"),
        (0, "1 KiB, 1 ops; 00.00 sec (953.674 GiB/sec and 1000000000.0000 ops/sec)"),
    ])
    func `reports for people`(nanoseconds: Int, line: String) {
        let report = TransferReport(verb: "read", offset: 512, count: 1024, nanoseconds: nanoseconds)
        #expect(report.text(machineReadable: false) == "read 1024/1024 bytes at offset 512\n\(line)\n")
    }

    @Test func `reports for machines`() {
        let report = TransferReport(verb: "read", offset: 512, count: 1024, nanoseconds: 2_500_000_000)
        #expect(report.text(machineReadable: true) == "1024,1,0:00:02.50,409.600,0.400\n")
    }

    @Test func `a dump has sixteen bytes a line and shows letters and digits`() {
        let bytes = Array("AZaz09._~ ".utf8) + [0, 255, 0xE9, 1, 2, 3, 4]
        let text = bytes.withUnsafeBytes { HexDump.text($0, offset: 5) }
        #expect(
            text == """
                00000005:  41 5a 61 7a 30 39 2e 5f 7e 20 00 ff e9 01 02 03  AZaz09..........
                00000015:  04  .

                """)
    }

    @Test func `options stand anywhere before two dashes`() throws {
        var scanner = OptionScanner(
            name: "x", words: ["a", "-qP", "1", "b", "-P2", "-", "--", "-q"], specification: "P:q")
        var options: [String] = []
        while let option = try scanner.next() { options.append("\(option.letter)\(option.argument)") }
        #expect(options == ["q", "P1", "P2"])
        #expect(scanner.operands == ["a", "b", "-", "-q"])
        #expect(scanner.firstWord == "-qP")
    }
}
