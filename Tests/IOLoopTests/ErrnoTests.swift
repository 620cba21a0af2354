import IOLoop
import Testing

@Suite struct ErrnoTests {
    @Test func `text and name are those of the C library`() {
        #expect(Errno.EIO.description == "Input/output error")
        #expect(Errno.EIO.name == "EIO")
        #expect(Errno.ENOTSUP.name == "ENOTSUP" || Errno.ENOTSUP.name == "EOPNOTSUPP")
        #expect(Errno.ENOTSUP == .EOPNOTSUPP)
        #expect(Errno(rawValue: 4095).description == "Unknown error 4095")
        #expect(Errno(rawValue: 4095).name == "E4095")
    }
}
