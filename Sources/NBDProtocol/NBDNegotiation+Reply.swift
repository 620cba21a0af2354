extension NBDNegotiation {
    /// The bytes of one reply to the option `code`.
    func reply(_ code: UInt32, _ type: NBDOptionReplyType, _ data: [UInt8] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(20 + data.count)
        bytes.appendBigEndian(NBD.optionReplyMagic)
        bytes.appendBigEndian(code)
        bytes.appendBigEndian(type.rawValue)
        bytes.appendBigEndian(UInt32(truncatingIfNeeded: data.count))
        return bytes + data
    }

    /// An error reply with a text, after which the client may go on.
    func fail(_ code: UInt32, _ type: NBDOptionReplyType, _ text: String) -> Step {
        Step(reply: reply(code, type, Array(text.utf8.prefix(NBD.maximumStringLength))), next: .option)
    }

    /// The same for a known option.
    func fail(_ option: NBDOption, _ type: NBDOptionReplyType, _ text: String) -> Step {
        fail(option.rawValue, type, text)
    }

    /// The error for data with an option that takes none, or nil if there is none.
    func noData(_ option: NBDOption, _ data: [UInt8]) -> Step? {
        data.isEmpty ? nil : fail(option, .invalid, "option '\(option.name)' has unexpected length")
    }

    /// The error for fields that do not fit the length of the option.
    func inconsistent(_ option: NBDOption) -> Step {
        fail(option, .invalid, "Inconsistent lengths in option \(option.name)")
    }

    /// The error for an export that does not exist; the name is echoed as received, cut at 80 bytes.
    func notPresent(_ option: NBDOption, _ name: [UInt8]) -> Step {
        var text = Array("export '".utf8)
        if name.count > 80 {
            text += name.prefix(80) + Array("...".utf8)
        } else {
            text += name
        }
        text += Array("' not present".utf8)
        return Step(reply: reply(option.rawValue, .unknown, text), next: .option)
    }

    /// What is said about an option that this server does not know, or does not take now.
    func unsupportedText(_ code: UInt32) -> String {
        "Unsupported option \(code) (\(NBDOption(rawValue: code)?.name ?? "<unknown>"))"
    }

    /// Reads a length and a string: the name of an export.
    ///
    /// Returns the name, or the error step to answer with.
    func readName(_ option: NBDOption, _ reader: inout ByteReader) -> NameResult {
        guard let length = reader.integer(UInt32.self) else { return .failure(inconsistent(option)) }
        guard length <= NBD.maximumStringLength else {
            return .failure(fail(option, .invalid, "Invalid name length: \(length)"))
        }
        guard let bytes = reader.take(length) else { return .failure(inconsistent(option)) }
        guard !bytes.contains(0) else { return .failure(embeddedNUL(option)) }
        return .name(Array(bytes))
    }

    /// The error for a string that holds a NUL.
    func embeddedNUL(_ option: NBDOption) -> Step {
        fail(option, .invalid, "Unexpected embedded NUL in option \(option.name)")
    }

    /// A name that was read, or what to answer instead.
    enum NameResult {
        case name([UInt8])
        case failure(Step)
    }
}
