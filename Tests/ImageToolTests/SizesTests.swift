import Testing

@testable import ImageTool

@Suite struct SizesTests {
    @Test func `units are powers of 1024`() throws {
        #expect(try Sizes.parse("1k") == 1024)
        #expect(try Sizes.parse("1.5K") == 1536)
        #expect(try Sizes.parse("0x200") == 512)
        #expect(try Sizes.parse("7E") == 7 << 60)
        #expect(try Sizes.parse("1.") == 1)
        #expect(try Sizes.parse(" +1b") == 1)
    }

    @Test func `what is no size is told from what is too large`() {
        for text in ["", "x", "1x", "1kk", "1.5", "0x", "5 k", "1e3", "k"] {
            #expect(throws: Sizes.ParseError.malformed) { try Sizes.parse(text) }
        }
        for text in ["-1", "-0", "16E", "99999999999999999999"] {
            #expect(throws: Sizes.ParseError.outOfRange) { try Sizes.parse(text) }
        }
    }

    @Test func `people read three digits`() {
        #expect(Sizes.text(0) == "0 B")
        #expect(Sizes.text(512) == "512 B")
        #expect(Sizes.text(1000) == "0.977 KiB")
        #expect(Sizes.text(1_023_488) == "1e+03 KiB")
        #expect(Sizes.text(1536) == "1.5 KiB")
        #expect(Sizes.text(5_368_709_120_000) == "4.88 TiB")
    }
}
