import JSON

extension Int64: QAPIType {
    /// Decodes an integer from -2^63 to 2^63 - 1.
    public init(decoding value: QAPIValue) throws(QMPError) {
        if value.mode == .keyval {
            guard let integer = KeyvalNumber.signed(try value.text()) else { throw value.badText("integer") }
            self = integer
        } else if case .integer(let integer) = value.json {
            self = integer
        } else {
            throw value.invalidType("integer")
        }
    }

    /// A JSON integer.
    public func encode() -> JSON { .integer(self) }
}

extension UInt64: QAPIType {
    /// Decodes an integer from 0 to 2^64 - 1; a negative one counts down from 2^64, as it does in QEMU.
    public init(decoding value: QAPIValue) throws(QMPError) {
        if value.mode == .keyval {
            guard let integer = KeyvalNumber.unsigned(try value.text()) else { throw value.badText("integer") }
            self = integer
            return
        }
        switch value.json {
        case .integer(let integer): self = UInt64(bitPattern: integer)
        case .unsigned(let integer): self = integer
        default: throw value.badText("uint64")
        }
    }

    /// A JSON integer.
    public func encode() -> JSON {
        if let integer = Int64(exactly: self) { .integer(integer) } else { .unsigned(self) }
    }
}

extension QAPIValue {
    /// Decodes an integer of a narrower type, named as in C.
    fileprivate func narrow<Wide: FixedWidthInteger & QAPIType, T: FixedWidthInteger>(
        _ type: String, from wide: Wide.Type
    ) throws(QMPError) -> T {
        guard let integer = T(exactly: try Wide(decoding: self)) else { throw outOfRange(type) }
        return integer
    }

    /// Decodes a count of bytes, which a command line may write with a unit.
    func size() throws(QMPError) -> UInt64 {
        guard mode == .keyval else { return try UInt64(decoding: self) }
        guard let size = KeyvalNumber.size(try text()) else { throw badText("size") }
        return size
    }
}

extension Int8: QAPIType {
    /// Decodes an integer that fits 8 bits with sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("int8_t", from: Int64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}

extension Int16: QAPIType {
    /// Decodes an integer that fits 16 bits with sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("int16_t", from: Int64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}

extension Int32: QAPIType {
    /// Decodes an integer that fits 32 bits with sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("int32_t", from: Int64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}

extension UInt8: QAPIType {
    /// Decodes an integer that fits 8 bits without sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("uint8_t", from: UInt64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}

extension UInt16: QAPIType {
    /// Decodes an integer that fits 16 bits without sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("uint16_t", from: UInt64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}

extension UInt32: QAPIType {
    /// Decodes an integer that fits 32 bits without sign.
    public init(decoding value: QAPIValue) throws(QMPError) { self = try value.narrow("uint32_t", from: UInt64.self) }
    /// A JSON integer.
    public func encode() -> JSON { .integer(Int64(self)) }
}
