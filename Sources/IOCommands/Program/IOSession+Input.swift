import Glibc
import IOLoop

extension IOSession {
    /// The text before each line that is typed.
    private static let prompt = "qemu-io> "

    /// Runs the lines of a stream to its end, or until the user asks for the end. A prompt precedes each.
    public func runLines(of input: FileDescriptor) async {
        var lines = LineReader(input)
        output.print(Self.prompt)
        while let line = await lines.next() {
            guard await run(line) else { return }
            output.print(Self.prompt)
        }
    }
}

/// Takes lines from a stream.
private struct LineReader {
    /// The longest line, in bytes; what is longer is cut up.
    private static let limit = 1 << 20

    private let input: FileDescriptor
    private var pending: [UInt8] = []
    private var isAtEnd = false

    init(_ input: FileDescriptor) { self.input = input }

    /// The next line without its newline, up to its first NUL; nil at the end.
    mutating func next() async -> String? {
        var searched = 0
        while true {
            if let end = pending[searched...].firstIndex(of: 0x0A) { return take(end, skipping: 1) }
            if pending.count > Self.limit { return take(pending.count, skipping: 0) }
            searched = pending.count
            guard !isAtEnd else { return pending.isEmpty ? nil : take(pending.count, skipping: 0) }
            await readMore()
        }
    }

    private mutating func take(_ count: Int, skipping rest: Int) -> String {
        let line = pending[..<count].prefix { $0 != 0 }
        defer { pending.removeFirst(count + rest) }
        return String(decoding: line, as: UTF8.self)
    }

    private mutating func readMore() async {
        let buffer = BufferPool.shared.take(count: 65536)
        defer { BufferPool.shared.give(buffer) }
        do throws(Errno) {
            let count = try await input.readStream(into: buffer)
            if count == 0 { isAtEnd = true }
            pending += buffer[0..<count].bytes
        } catch {
            isAtEnd = true
        }
    }
}
