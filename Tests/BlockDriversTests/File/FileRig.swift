import BlockDrivers
import BlockGraph
import BlockTestSupport
import Glibc
import IOLoop
import StorageTestSupport

/// A directory on a file system of its own kind.
final class FileSystemDirectory: Sendable {
    let path: String
    private let temporary: TemporaryDirectory?

    /// Where the files of a test are.
    enum Place: String, Sendable, CaseIterable {
        /// Where the system has its temporary files: a disk, in general.
        case disk
        /// Memory.
        case tmpfs
    }

    init(_ place: Place) {
        guard place == .tmpfs else {
            let directory = TemporaryDirectory()
            (temporary, path) = (directory, directory.path)
            return
        }
        var template = Array("/dev/shm/cairn-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("cannot make a temporary directory") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        temporary = nil
    }

    deinit {
        guard temporary == nil, let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { bytes in
                bytes.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            unlink("\(path)/\(name)")
        }
        closedir(directory)
        rmdir(path)
    }

    /// Makes a file with the bytes; its path.
    func makeFile(_ name: String, _ bytes: [UInt8] = [], length: Int? = nil) -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        precondition(write(descriptor, bytes, bytes.count) == bytes.count)
        if let length { precondition(ftruncate(descriptor, off_t(length)) == 0) }
        close(descriptor)
        return file
    }
}

/// The bytes of a file; none where there is no such file.
func contents(_ path: String) -> [UInt8] {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, SEEK_END)))
    precondition(pread(descriptor, &bytes, bytes.count, 0) == bytes.count)
    return bytes
}

/// The bytes that a file takes up.
func allocatedBytes(_ path: String) -> Int {
    var status = stat()
    stat(path, &status)
    return Int(status.st_blocks) * 512
}

extension BlockGraph {
    /// Opens a file.
    func openFile(
        _ path: String, name: String? = nil, options: NodeOptions = NodeOptions(),
        locking: FileConfiguration.Locking = .auto, isOwnedByMonitor: Bool = false
    ) async throws(BlockError) -> BlockNode {
        let configuration = FileConfiguration(filename: path, locking: locking)
        return try await open(name: name, options: options, isOwnedByMonitor: isOwnedByMonitor) {
            (node) async throws(BlockError) in
            try await FileDriver.open(configuration, in: node)
        }
    }

    /// Gives a file other options.
    func reopenFile(_ node: BlockNode, options: NodeOptions) async throws(BlockError) {
        let item = ReopenItem(
            node: node, options: options, driverOptions: 0, sourceOptions: nil, newChildren: [])
        try await reopen([item])
    }
}

extension NodeOptions {
    /// The usual options, changed.
    static func with(_ change: (inout NodeOptions) -> Void) -> NodeOptions {
        var options = NodeOptions()
        change(&options)
        return options
    }
}
