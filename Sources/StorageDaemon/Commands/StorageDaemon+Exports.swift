import BlockExports
import BlockGraph
import IOLoop
import QAPI
import QMPSchema

/// Exports: `nbd-server-*`, `block-export-*`, `query-block-exports`.
extension StorageDaemon {
    func nbdServerStart(_ arguments: NbdServerOptionsLegacy) async throws(QMPError) {
        if case .fd = arguments.addr.type { throw QMPError("only QEMU supports file descriptor passing") }
        let address: QMPSchema.SocketAddress.Kind =
            switch arguments.addr.type {
            case .inet(let wrapper): .inet(wrapper.data)
            case .unix(let wrapper): .unix(wrapper.data)
            case .vsock(let wrapper): .vsock(wrapper.data)
            case .fd(let wrapper): .fd(wrapper.data)
            }
        try await startNBDServer(
            NbdServerOptions(
                handshakeMaxSeconds: arguments.handshakeMaxSeconds, tlsCreds: arguments.tlsCreds,
                tlsAuthz: arguments.tlsAuthz, maxConnections: arguments.maxConnections,
                addr: QMPSchema.SocketAddress(type: address)))
    }

    /// Starts the NBD server, as the command or the command line says.
    func startNBDServer(_ options: NbdServerOptions) async throws(QMPError) {
        if nbdServer.isRunning { throw QMPError("NBD server already running") }
        if options.tlsAuthz != nil, options.tlsCreds == nil {
            throw QMPError("TLS authorization requires TLS credentials")
        }
        if let credentials = options.tlsCreds { throw QMPError("No TLS credentials with id '\(credentials)'") }
        var limits = NBDServer.Limits()
        if let maximum = options.maxConnections { limits.maximumConnections = Int(maximum) }
        if let seconds = options.handshakeMaxSeconds { limits.handshakeMaximumSeconds = Int(seconds) }
        let address = try await NBDServerAddress(options.addr)
        try await reporting { () async throws(BlockError) in try await nbdServer.start(at: address, limits) }
    }

    func nbdServerStop() async throws(QMPError) {
        try await reporting { () async throws(BlockError) in try await nbdServer.stop() }
    }

    func nbdServerAdd(_ arguments: NbdServerAddOptions) async throws(QMPError) {
        let name = arguments.name ?? arguments.device
        let node = try findNode(arguments.device)
        var options = NBDExportOptions(id: name, node: node)
        options.name = name
        options.description = arguments.description
        // The older command gives way where the newer one refuses.
        options.isWritable = arguments.writable == true && !node.isReadOnly
        options.bitmaps = arguments.bitmap.map { [.name($0)] } ?? []
        try await reporting { () async throws(BlockError) in _ = try nbdServer.export(options) }
    }

    func nbdServerRemove(_ arguments: NbdServerRemoveArguments) async throws(QMPError) {
        try await blockExportDel(BlockExportDel(id: arguments.name, mode: arguments.mode))
    }

    func blockExportAdd(_ arguments: BlockExportOptions) async throws(QMPError) {
        try await run(AddExportAction(arguments, daemon: self))
    }

    /// Makes an export.
    func export(_ arguments: BlockExportOptions) async throws(QMPError) -> any BlockExport {
        guard case .nbd(let nbd) = arguments.type else {
            throw QMPError("Parameter 'type' does not accept value '\(arguments.type.tag.rawValue)'")
        }
        try await reporting { () async throws(BlockError) in try exports.check(id: arguments.id) }
        guard let node = graph.node(named: arguments.nodeName) else {
            throw QMPError("Cannot find device='' nor node-name='\(arguments.nodeName)'")
        }
        var options = NBDExportOptions(id: arguments.id, node: node)
        options.name = nbd.name
        options.description = nbd.description
        options.isWritable = arguments.writable == true
        options.isWriteThrough = arguments.writethrough == true
        options.allocationDepth = nbd.allocationDepth == true
        options.bitmaps = (nbd.bitmaps ?? []).map { reference in
            switch reference {
            case .local(let name): .name(name)
            case .external(let bitmap): .external(node: bitmap.node, name: bitmap.name)
            }
        }
        options.loops = try loops(arguments.iothread)
        let complete = options
        return try await reporting { () throws(BlockError) in try nbdServer.export(complete) }
    }

    /// The loops that an export's connections are spread over.
    private func loops(_ iothreads: BlockExportIothreads?) throws(QMPError) -> [IOLoop] {
        let names: [String] =
            switch iothreads {
            case nil: []
            case .single(let name): [name]
            case .multi(let names): names
            }
        if case .multi(let names)? = iothreads, names.isEmpty {
            throw QMPError("The set of I/O threads must not be empty")
        }
        var loops: [IOLoop] = []
        for name in names {
            guard let thread = objects.object(name, as: IOThread.self) else {
                throw QMPError("iothread \"\(name)\" not found")
            }
            loops.append(thread.loop)
        }
        return loops
    }

    func blockExportDel(_ arguments: BlockExportDel) async throws(QMPError) {
        try await run(DeleteExportAction(arguments, in: exports))
    }

    func queryBlockExports() async throws(QMPError) -> [BlockExportInfo] {
        exports.all.compactMap { export in
            BlockExportType(rawValue: export.typeName).map { type in
                BlockExportInfo(
                    id: export.id, type: type, nodeName: export.nodeName, shuttingDown: export.isShuttingDown)
            }
        }
    }
}

extension NBDServerAddress {
    /// The address that QMP gives. Error: the daemon cannot listen at addresses of this kind.
    init(_ address: QMPSchema.SocketAddress) async throws(QMPError) {
        switch address.type {
        case .unix(let unix) where unix.abstract == true: self = .abstract(name: unix.path)
        case .unix(let unix): self = .unix(path: unix.path)
        case .inet(let inet):
            let family: LoopSocketAddress.Family =
                switch (inet.ipv4, inet.ipv6) {
                case (true, false), (true, nil), (nil, false): .ipv4
                case (false, true), (nil, true), (false, nil): .ipv6
                default: .any
                }
            self = .inet(host: inet.host, service: inet.port, family: family)
        case .fd(let fd):
            guard let number = Int32(fd.str), number >= 0 else { throw QMPError("Unable to parse FD number \(fd.str)") }
            let descriptor = FileDescriptor(rawValue: number)
            guard let status = try? await descriptor.statx(), status.kind == .socket else {
                throw QMPError("File descriptor '\(fd.str)' is not a socket")
            }
            self = .descriptor(descriptor)
        case .vsock:
            throw QMPError("Sockets of type 'vsock' are not supported")
        }
    }
}
