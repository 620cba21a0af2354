/// A program that serves QMP.
public struct ServerProgram: Sendable, Hashable {
    /// How the program is started and what it has beside the block layer.
    public enum Kind: String, Sendable, Hashable {
        /// Cairn's daemon.
        case cairn
        /// QEMU's storage daemon.
        case storageDaemon
        /// A QEMU that emulates a machine.
        case emulator
    }

    /// Where the program lies.
    public let path: String
    /// What it is, by its name.
    public let kind: Kind

    /// The program at a path.
    public init(path: String) {
        self.path = path
        let name = path.split(separator: "/").last.map(String.init) ?? path
        kind =
            if name.hasPrefix("qemu-system") { .emulator } else if name.hasPrefix("qemu") { .storageDaemon } else {
                .cairn
            }
    }

    /// Arguments that let the program serve QMP on its descriptor 3, on which it listens.
    var monitorArguments: [String] {
        switch kind {
        case .cairn, .storageDaemon:
            ["--chardev", "socket,id=monitor,fd=3,server=on,wait=off", "--monitor", "chardev=monitor"]
        case .emulator:
            [
                "-nodefaults", "-display", "none", "-vga", "none", "-accel", "qtest", "-device", "virtio-scsi-pci",
                "-chardev", "socket,id=monitor,fd=3,server=on,wait=off", "-mon", "chardev=monitor,mode=control",
            ]
        }
    }
}
