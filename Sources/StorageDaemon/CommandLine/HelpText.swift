import IOLoop
import QMPSchema

/// What `--help` prints.
func helpText() -> String {
    """
    Usage: \(programName) [options]
    Cairn storage daemon: block graphs over NBD, driven over QMP

      -h, --help             display this help and exit
      -T, --trace [enable=]<pattern>
                             accepted and ignored: there are no trace points
      -V, --version          output version information and exit

      --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]
                 [,cache.direct=on|off][,cache.no-flush=on|off]
                 [,read-only=on|off][,auto-read-only=on|off]
                 [,force-share=on|off][,detect-zeroes=on|off|unmap]
                 [,driver specific parameters...]
                             configure a block node; also as a JSON object

      --chardev socket,id=<id>,path=<path>[,server=on|off][,wait=on|off]
      --chardev socket,id=<id>,host=<host>,port=<port>[,server=on|off]
      --chardev socket,id=<id>,fd=<fd>[,server=on|off]
      --chardev stdio,id=<id>
      --chardev null,id=<id>
                             configure a character device for a monitor

      --daemonize            run in the background; the parent exits once
                             startup is complete

      --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]
               [,writable=on|off][,bitmaps.0=<name>][,iothread.0=<id>...]
                             export a block node over NBD
                             (requires --nbd-server)

      --monitor [chardev=]<name>[,mode=control][,pretty[=on|off]]
                             configure a QMP monitor

      --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>
                   [,max-connections=<n>][,handshake-max-seconds=<n>]
      --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<n>]
      --nbd-server addr.type=fd,addr.str=<fd>[,max-connections=<n>]
                             start the NBD server

      --object help          list object types that can be added
      --object <type>,help   list properties of the given type
      --object <type>,id=<id>[,<property>=<value>...]
                             create an object

      --pidfile <path>       write the process ID to a file after startup

    Options take effect in the order in which they are given.

    """
}

/// What `--version` prints.
func versionText() -> String {
    let qemu = StorageDaemon.version.qemu
    return """
        cairn-storage-daemon version \(qemu.major).\(qemu.minor).\(qemu.micro) (Cairn \(StorageDaemon.versionText))
        Speaks QMP as QEMU \(qemu.major).\(qemu.minor) does. Licensed under the Apache License, Version 2.0.

        """
}
