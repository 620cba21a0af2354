import Glibc

/// Runs a program to its end. Blocks the thread.
///
/// - Parameter input: what it reads.
/// - Returns: its exit status, -1 where it could not be started, and what it wrote to both of its outputs.
public func run(_ arguments: [String], output path: String) -> (status: Int32, output: String) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var pointers = arguments.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var process = pid_t()
    guard posix_spawnp(&process, arguments[0], &actions, nil, &pointers, environ) == 0 else { return (-1, "") }
    var status: Int32 = 0
    while waitpid(process, &status, 0) == -1, errno == EINTR {}
    guard let file = fopen(path, "r") else { return (-1, "") }
    defer { fclose(file) }
    var text = [UInt8](repeating: 0, count: 65536)
    let count = fread(&text, 1, text.count, file)
    return ((status >> 8) & 0xFF, String(decoding: text.prefix(count), as: UTF8.self))
}

/// The programs of that name, of the system and of the reference installation, that are there.
public func installedPrograms(_ name: String) -> [String] {
    ["/usr/bin/\(name)", "/root/.cache/reference-qemu/bin/\(name)"].filter { access($0, X_OK) == 0 }
}
