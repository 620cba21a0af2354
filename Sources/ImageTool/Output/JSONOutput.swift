import JSON

extension JSON {
    /// The value as programs read it on standard output: spread over lines, with members in QEMU's order.
    var outputText: String {
        // Within strings line breaks are escaped.
        String(decoding: encoded(pretty: true).filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
    }
}
