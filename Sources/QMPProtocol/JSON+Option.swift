import JSON
import QAPI

extension JSON {
    /// The one JSON value of a command line option or a file name that is written as JSON.
    ///
    /// Errors: with the texts that QMP has for malformed input; "Expecting at most one JSON value".
    public init(parsingOption text: String) throws(QMPError) {
        var splitter = MessageSplitter()
        splitter.feed(text.utf8)
        var result = try Self.onlyValue(&splitter)
        if result == nil {
            // A number ends only where something else begins.
            splitter.feed(CollectionOfOne(UInt8(ascii: " ")))
            result = try Self.onlyValue(&splitter)
        }
        if result != nil, !splitter.isBetweenValues { throw QMPError("Expecting at most one JSON value") }
        guard let result else {
            let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            let column = (lines.last?.count ?? 0) + 1
            throw QMPError("\(lines.count):\(column): JSON parse error, premature end of input")
        }
        self = result
    }

    private static func onlyValue(_ splitter: inout MessageSplitter) throws(QMPError) -> JSON? {
        var result: JSON?
        while let item = splitter.next() {
            switch item {
            case .malformed(let error): throw error
            case .value(let value):
                guard result == nil else { throw QMPError("Expecting at most one JSON value") }
                result = value
            }
        }
        return result
    }
}
