import Glibc
import IOLoop

/// A new directory with a short path, so that names of Unix sockets fit.
struct ScenarioDirectory: Sendable {
    let path: String

    /// Makes the directory, in TMPDIR or else in /tmp.
    init() throws(ScenarioFailure) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/cairn-iotest-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ScenarioFailure("cannot make a directory in '\(parent)': \(Errno(rawValue: errno))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Removes the directory with what is in it; links are not followed.
    func remove() { Self.removeTree(path) }

    private static func removeTree(_ path: String) {
        if unlink(path) == 0 { return }
        for name in (try? FileText.names(in: path)) ?? [] { removeTree("\(path)/\(name)") }
        rmdir(path)
    }
}
