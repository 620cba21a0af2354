import Glibc

/// A file could not be read or written.
public struct TextFileError: Error, CustomStringConvertible {
    /// The path and the system's reason.
    public let description: String

    init(_ path: String) {
        description = "\(path): \(String(cString: strerror(errno)))"
    }
}

/// A file of UTF-8 text.
public struct TextFile {
    private let path: String

    /// The file at a path.
    public init(path: String) {
        self.path = path
    }

    /// The whole text; throws where the file cannot be read.
    public func read() throws(TextFileError) -> String {
        guard let file = fopen(path, "r") else { throw TextFileError(path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
            bytes.append(contentsOf: buffer[..<count])
        }
        if ferror(file) != 0 { throw TextFileError(path) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Replaces the text; throws where the file cannot be written.
    public func write(_ text: String) throws(TextFileError) {
        guard let file = fopen(path, "w") else { throw TextFileError(path) }
        let bytes = Array(text.utf8)
        let written = fwrite(bytes, 1, bytes.count, file)
        if fclose(file) != 0 || written != bytes.count { throw TextFileError(path) }
    }
}
