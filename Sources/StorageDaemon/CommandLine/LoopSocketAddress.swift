import IOLoop

/// The address of a socket, under a name that does not clash with QMP's type.
typealias LoopSocketAddress = SocketAddress
