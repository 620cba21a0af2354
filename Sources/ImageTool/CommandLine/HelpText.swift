import Glibc

/// What `--help` and `--version` print.
enum HelpText {
    /// What `--help` before a command prints.
    static var program: String {
        var width = 0
        for command in imageCommands { width = max(width, command.name.count) }
        var commands = ""
        for command in imageCommands {
            commands += "  \(command.name)\(String(repeating: " ", count: width - command.name.count))"
            commands += "  \(command.summary)\n"
        }
        return """
            Usage: \(programName) [-h|--help] [-V|--version] COMMAND [--help | command options]
            Cairn disk image utility: makes, examines, converts and changes disk images

              -h, --help         display this help and exit
              -T, --trace TRACE  accepted and ignored: there are no trace points
              -V, --version      output version information and exit

            Commands (\(programName) COMMAND --help tells a command's options):

            \(commands)
            Formats: qcow2 raw
            Protocols and filters: blkdebug copy-before-write file host_device null-aio null-co snapshot-access throttle

            """
    }

    /// What `--version` prints.
    static var version: String {
        """
        \(programName) version 0.1.0 (Cairn)
        Options and output as those of qemu-img 11.1. Licensed under the Apache License, Version 2.0.

        """
    }

    /// What `--help` after a command prints.
    static func of(_ command: any ImageCommand.Type) -> String {
        "Usage: \(programName) \(command.name) \(command.help)\n"
    }
}
