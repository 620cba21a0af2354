import Glibc

/// Text from a `printf(3)` format and its arguments.
func formatted(_ format: String, _ arguments: any CVarArg...) -> String {
    withVaList(arguments) { list in
        var bytes = [CChar](repeating: 0, count: 512)
        let length = vsnprintf(&bytes, bytes.count, format, list)
        return String(
            decoding: bytes.prefix(max(0, min(Int(length), bytes.count - 1))).map(UInt8.init(bitPattern:)),
            as: UTF8.self)
    }
}

extension UInt64 {
    /// The number in lower case hexadecimal digits, at least `width` of them.
    func hexadecimal(width: Int = 1) -> String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: Swift.max(0, width - digits.count)) + digits
    }
}
