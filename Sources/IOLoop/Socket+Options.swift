import Glibc

extension Socket {
    /// The address that the socket listens at or connects from; `unnamed` for a Unix client. Throws `EBADF`.
    public func localAddress() throws(Errno) -> SocketAddress {
        var memory = AddressMemory()
        defer { memory.free() }
        _ = try Errno.checkCall(getsockname(number, memory.pointer, &memory.length))
        return memory.address
    }

    /// The address of the other end; `unnamed` for a Unix client. Throws `ENOTCONN`.
    public func peerAddress() throws(Errno) -> SocketAddress {
        var memory = AddressMemory()
        defer { memory.free() }
        _ = try Errno.checkCall(getpeername(number, memory.pointer, &memory.length))
        return memory.address
    }

    /// Whether small packets go out at once (`TCP_NODELAY`). Throws `EOPNOTSUPP` for Unix sockets.
    public func setNoDelay(_ isOn: Bool) throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_NODELAY, isOn ? 1 : 0)
    }

    /// Whether the kernel checks that a silent peer still exists (`SO_KEEPALIVE`).
    public func setKeepAlive(_ isOn: Bool) throws(Errno) {
        try set(SOL_SOCKET, SO_KEEPALIVE, isOn ? 1 : 0)
    }

    /// How much may be on its way, in bytes (`SO_SNDBUF`); the kernel limits and doubles it.
    public func setSendBuffer(_ size: Int) throws(Errno) {
        try set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: size))
    }

    /// How much may wait to be received, in bytes (`SO_RCVBUF`); the kernel limits and doubles it.
    public func setReceiveBuffer(_ size: Int) throws(Errno) {
        try set(SOL_SOCKET, SO_RCVBUF, Int32(clamping: size))
    }

    func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(Errno) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        _ = try Errno.checkCall(setsockopt(number, level, option, &value, size))
    }
}
