import CLiburing
import CLinuxShims
import Glibc

// Open files as a gift between processes, over Unix sockets (`SCM_RIGHTS` of unix(7)).
extension Socket {
    /// Descriptors that one message can carry.
    private static let descriptorLimit = 253

    /// Receives what is there, as `recv(into:)`, and appends descriptors that came with it, which the caller closes.
    ///
    /// - Returns: bytes received, 0 at the end. Throws the errors of `recvmsg(2)` and `ECANCELED`.
    public func recv(
        into buffer: IOBuffer, descriptors: inout [FileDescriptor]
    ) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let capacity = cairn_control_size(Int32(Socket.descriptorLimit))
        let control = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        defer { control.deallocate() }
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        while true {
            _ = block.fill(CollectionOfOne(buffer), skipping: 0)
            block.header.pointee.msg_control = control
            block.header.pointee.msg_controllen = capacity
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_recvmsg(entry, number, block.header, UInt32(MSG_CMSG_CLOEXEC))
            }
            if result < 0, try await mustRetry(result, .readable) { continue }
            let count = try Errno.check(result)
            var numbers = [Int32](repeating: -1, count: Socket.descriptorLimit)
            let received = cairn_control_get(
                control, block.header.pointee.msg_controllen, &numbers, Int32(Socket.descriptorLimit))
            descriptors += numbers.prefix(Int(received)).map { FileDescriptor(rawValue: $0) }
            return count
        }
    }

    /// Sends all of `buffer`, which is not empty, with copies of `descriptors`, at most 253.
    ///
    /// Throws the errors of `sendmsg(2)`, `EINVAL` for an empty buffer or too many descriptors, and `ECANCELED`.
    public func send(from buffer: IOBuffer, descriptors: [FileDescriptor]) async throws(Errno) {
        guard buffer.count > 0, descriptors.count <= Socket.descriptorLimit else { throw .EINVAL }
        let capacity = cairn_control_size(Int32(descriptors.count))
        let control = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 8)
        defer { control.deallocate() }
        cairn_control_set(control, descriptors.map(\.rawValue), Int32(descriptors.count))
        let sent = try await send(buffer, control, capacity)
        if sent < buffer.count { try await sendFully(from: buffer[sent...]) }
    }

    private func send(
        _ buffer: IOBuffer, _ control: UnsafeMutableRawPointer, _ capacity: Int
    ) async throws(Errno) -> Int {
        let loop = IOLoop.required
        let block = loop.messages.take()
        defer { loop.messages.give(block) }
        while true {
            _ = block.fill(CollectionOfOne(buffer), skipping: 0)
            block.header.pointee.msg_control = control
            block.header.pointee.msg_controllen = capacity
            let result = await loop.performCancellable { entry, _ in
                io_uring_prep_sendmsg(entry, number, block.header, UInt32(MSG_NOSIGNAL))
            }
            if result < 0, try await mustRetry(result, .writable) { continue }
            return try Errno.check(result)
        }
    }
}
