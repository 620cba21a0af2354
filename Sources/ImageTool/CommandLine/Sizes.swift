import Glibc

/// Numbers and sizes as they are written on a command line, and as people read them.
enum Sizes {
    /// Why a text is no number of bytes.
    enum ParseError: Error {
        /// It is malformed.
        case malformed
        /// It is out of bounds.
        case outOfRange
    }

    /// A count from a text: decimal digits, with a fraction where a unit follows (`b`, `k`, `m`, `g`, `t`, `p`, `e`, of
    /// either case, powers of `base`), or hexadecimal digits after `0x`.
    static func parse(_ text: String, base: UInt64 = 1024) throws(ParseError) -> UInt64 {
        var rest = Array(text.utf8).drop { $0 == 0x20 || (9...13).contains($0) }
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        if rest.starts(with: "0x".utf8) || rest.starts(with: "0X".utf8) {
            let digits = rest.dropFirst(2)
            guard !digits.isEmpty, digits.allSatisfy({ isxdigit(Int32($0)) != 0 }) else { throw .malformed }
            guard let value = UInt64(String(decoding: digits, as: UTF8.self), radix: 16), !isNegative
            else { throw .outOfRange }
            return value
        }
        let whole = rest.prefix { isdigit(Int32($0)) != 0 }
        rest = rest.dropFirst(whole.count)
        var fraction = rest.prefix(0)
        if rest.first == UInt8(ascii: ".") {
            fraction = rest.dropFirst().prefix { isdigit(Int32($0)) != 0 }
            rest = rest.dropFirst(1 + fraction.count)
        }
        guard !whole.isEmpty || !fraction.isEmpty else { throw .malformed }
        let hasFraction = fraction.contains { $0 != UInt8(ascii: "0") }
        var unit: UInt64 = 1
        if let letter = rest.first {
            guard let power = Array("bkmgtpe".utf8).firstIndex(of: letter | 0x20), rest.count == 1 else {
                throw .malformed
            }
            for _ in 0..<power { unit *= base }
        }
        if hasFraction, unit == 1 { throw .malformed }
        guard let integer = whole.isEmpty ? 0 : UInt64(String(decoding: whole, as: UTF8.self)) else {
            throw .outOfRange
        }
        let (bytes, overflow) = integer.multipliedReportingOverflow(by: unit)
        guard !overflow else { throw .outOfRange }
        let part = hasFraction ? (Double("0." + String(decoding: fraction, as: UTF8.self)) ?? 0) * Double(unit) : 0
        let (sum, tooLarge) = bytes.addingReportingOverflow(UInt64(part))
        guard !tooLarge, !isNegative else { throw .outOfRange }
        return sum
    }

    /// The value of an option that is a size between two bounds.
    ///
    /// - Parameter what: the value in messages: "image size".
    /// Failure: "Invalid WHAT specified...", in qemu-img's words.
    static func parse(
        _ text: String, what: String, in bounds: ClosedRange<Int64> = 0...Int64.max
    ) throws(ToolFailure) -> Int64 {
        let value: UInt64
        do {
            value = try parse(text)
        } catch {
            switch error {
            case .malformed: throw ToolFailure("Invalid \(what) specified: '\(text)'")
            case .outOfRange: throw outOfBounds(what, bounds)
            }
        }
        guard let result = Int64(exactly: value), bounds.contains(result) else { throw outOfBounds(what, bounds) }
        return result
    }

    private static func outOfBounds(_ what: String, _ bounds: ClosedRange<Int64>) -> ToolFailure {
        let rule =
            bounds.upperBound == .max && bounds.lowerBound > 0
            ? "Must be at least \(bounds.lowerBound)" : "Must be between \(bounds.lowerBound) and \(bounds.upperBound)"
        return ToolFailure("Invalid \(what) specified. \(rule).")
    }

    /// A size for people: three significant digits and a binary unit, as in "1.5 KiB".
    static func text(_ bytes: Int64) -> String {
        let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
        var index = 0
        var value = Double(bytes)
        while value >= 1000, index < units.count - 1 {
            value /= 1024
            index += 1
        }
        return "\(significant(value)) \(units[index])B"
    }

    /// Three significant digits, as C's `%0.3g` prints them.
    private static func significant(_ value: Double) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            _ = withVaList([value]) { vsnprintf(buffer.baseAddress, buffer.count, "%0.3g", $0) }
            return buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
    }
}
