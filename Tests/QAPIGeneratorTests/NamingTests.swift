import Testing

@testable import QAPIGenerator

@Suite struct NamingTests {
    @Test(arguments: [
        ("node-name", "nodeName"), ("backing_file", "backingFile"), ("id", "id"), ("default", "`default`"),
        ("BLOCK_IO_ERROR", "blockIoError"), ("3des", "_3des"), ("l1_update", "l1Update"), ("x-bps-read", "xBpsRead"),
        ("io_uring", "ioUring"), ("aes-128", "aes128"),
    ]) func `members are in lower camel case`(name: String, swift: String) {
        #expect(Naming.member(name) == swift)
    }

    @Test func `types are in upper camel case`() {
        #expect(Naming.type("block_resize") == "BlockResize")
        #expect(Naming.type("BLOCK_IO_ERROR") == "BlockIoError")
        #expect(Naming.payload("meta-type") == "MetaType")
        #expect(Naming.payload("type") == "Kind")
    }

    @Test func `texts wrap at blanks`() {
        #expect(wrap("", width: 3) == [])
        #expect(wrap("a b c", width: 3) == ["a b", "c"])
        #expect(wrap("abcdef g", width: 3) == ["abcdef", "g"])
    }
}
