import Glibc
import IOLoop

/// Small text files, read and written at once.
enum FileText {
    /// The text of a file. Errors: it cannot be read.
    static func read(_ path: String) throws(ScenarioFailure) -> String {
        guard let file = fopen(path, "r") else { throw failure("read", path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&part, 1, part.count, file)
            bytes += part[..<count]
            if count < part.count { break }
        }
        guard ferror(file) == 0 else { throw failure("read", path) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Makes a file with the text. Errors: it cannot be written.
    static func write(_ text: String, to path: String) throws(ScenarioFailure) {
        guard let file = fopen(path, "w") else { throw failure("write", path) }
        let isWritten = fputs(text, file) >= 0
        guard fclose(file) == 0, isWritten else { throw failure("write", path) }
    }

    /// The names in a directory, but for hidden ones. Errors: it cannot be read.
    static func names(in path: String) throws(ScenarioFailure) -> [String] {
        guard let directory = opendir(path) else { throw failure("read", path) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { bytes in
                bytes.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    /// The path from the root to a file that is there: programs run in directories of their own. Errors: it is not there.
    static func absolute(_ path: String) throws(ScenarioFailure) -> String {
        guard let found = realpath(path, nil) else { throw failure("find", path) }
        defer { free(found) }
        return String(cString: found)
    }

    private static func failure(_ verb: String, _ path: String) -> ScenarioFailure {
        ScenarioFailure("cannot \(verb) '\(path)': \(Errno(rawValue: errno))")
    }
}
