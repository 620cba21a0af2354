import JSON
import QAPI
import QMPProtocol

/// The one JSON value of an option that is written as JSON. Errors: with the texts that QMP has for malformed input.
func parseOptionJSON(_ text: String) throws(QMPError) -> JSON {
    var splitter = MessageSplitter()
    splitter.feed(text.utf8)
    var result: JSON?
    while let item = splitter.next() {
        switch item {
        case .malformed(let error): throw error
        case .value(let value):
            guard result == nil else { throw QMPError("Expecting at most one JSON value") }
            result = value
        }
    }
    if result != nil, !splitter.isBetweenValues { throw QMPError("Expecting at most one JSON value") }
    guard let result else {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let column = (lines.last?.count ?? 0) + 1
        throw QMPError("\(lines.count):\(column): JSON parse error, premature end of input")
    }
    return result
}
