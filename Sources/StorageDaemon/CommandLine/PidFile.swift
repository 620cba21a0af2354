import Glibc
import IOLoop

/// A locked file with the number of the process, which goes away with it.
struct PidFile {
    private let path: String
    private let file: FileDescriptor

    /// Makes the file, or takes over one that no process has locked. The text of what is wrong is thrown.
    static func create(_ path: String) async throws(StartupError) -> PidFile {
        let file: FileDescriptor
        do {
            file = try await FileDescriptor.open(path, [.readWrite, .create], mode: 0o600)
        } catch {
            throw StartupError("cannot create PID file: Could not create '\(path)': \(error)")
        }
        do {
            try file.lockRange(.exclusive, offset: 0, length: 0)
        } catch {
            file.closeNow()
            throw StartupError("cannot create PID file: Cannot lock pid file: \(error)")
        }
        do {
            let text = Array("\(getpid())\n".utf8)
            try await file.ftruncate(to: 0)
            try await BufferPool.shared.withBuffer(count: text.count) { (buffer) async throws(Errno) in
                buffer.bytes.copyBytes(from: text)
                try await file.writeFully(from: buffer, at: 0)
            }
        } catch {
            file.closeNow()
            throw StartupError("cannot create PID file: Failed to write pid file: \(error)")
        }
        // The daemon may leave the working directory.
        let absolute = realpath(path, nil)
        defer { free(absolute) }
        return PidFile(path: absolute.map { String(cString: $0) } ?? path, file: file)
    }

    /// Takes the file away.
    func remove() async {
        try? await FileDescriptor.unlink(path)  // Somebody else may have done it.
        file.closeNow()
    }
}
