/// What the program says of how it is called.
enum IOProgramHelp {
    /// The text of `--help`.
    static func text(_ program: String) -> String {
        """
        Usage: \(program) [OPTIONS]... [-c STRING]... [file]
        Cairn disk exerciser: reads, writes and looks at images, command by command

          -c, --cmd STRING     run the command and its arguments in STRING; may be
                               given several times. Without it commands are read
                               from the standard input
          -f, --format FMT     the driver of the image; found out by default
          --image-opts         'file' holds options: driver=qcow2,file.filename=X
          --object OBJECTDEF   define an object, such as a throttle group
          -r, --read-only      open the image for reading only
          -s, --snapshot       write to a temporary overlay
          -t, --cache MODE     the cache mode of the image: none, writeback,
                               unsafe, directsync or writethrough
          -n, --nocache        short for -t none
          -d, --discard MODE   ignore or unmap
          -i, --aio MODE       threads, native or io_uring
          -k, --native-aio     short for -i native
          -C, --copy-on-read   copy what is read up from the backing file
          -U, --force-share    tolerate other users of the image
          -m, --misalign       accepted and ignored: memory is aligned as need be
          -T, --trace PATTERN  accepted and ignored: there are no trace points
          -h, --help           display this help and exit
          -V, --version        output version information and exit

        '\(program) -c help' lists the commands.

        """
    }
}
