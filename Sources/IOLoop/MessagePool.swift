import CLiburing
import Glibc

/// Memory for operations on several buffers: a message header and its vectors. On one loop's thread only.
final class MessagePool {
    /// A `msghdr` and room for `limit` vectors, which it points to.
    struct Block {
        /// Buffers that one operation can have.
        static let limit = 64

        let header: UnsafeMutablePointer<msghdr>
        let vectors: UnsafeMutablePointer<iovec>

        /// Points to the bytes of `buffers` from `skipped` on, as many as fit, and returns the number of vectors.
        func fill(_ buffers: some Sequence<IOBuffer>, skipping skipped: Int) -> Int {
            var used = 0
            var skip = skipped
            for buffer in buffers {
                if skip >= buffer.count {
                    skip -= buffer.count
                    continue
                }
                if used == Block.limit { break }
                vectors[used] = iovec(iov_base: buffer.base + skip, iov_len: buffer.count - skip)
                skip = 0
                used += 1
            }
            return finish(used)
        }

        /// The same for two buffers.
        func fill(_ first: IOBuffer, _ second: IOBuffer, skipping skipped: Int) -> Int {
            var used = 0
            if skipped < first.count {
                vectors[0] = iovec(iov_base: first.base + skipped, iov_len: first.count - skipped)
                used = 1
            }
            let skip = max(0, skipped - first.count)
            if skip < second.count {
                vectors[used] = iovec(iov_base: second.base + skip, iov_len: second.count - skip)
                used += 1
            }
            return finish(used)
        }

        private func finish(_ used: Int) -> Int {
            header.pointee.msg_iov = vectors
            header.pointee.msg_iovlen = used
            return used
        }
    }

    @exclusivity(unchecked) private var free = FIFO<Block>()

    deinit {
        while let block = free.popFirst() {
            block.header.deallocate()
            block.vectors.deallocate()
        }
    }

    func take() -> Block {
        if let block = free.popFirst() { return block }
        let block = Block(header: .allocate(capacity: 1), vectors: .allocate(capacity: Block.limit))
        block.header.initialize(to: msghdr())
        block.vectors.initialize(repeating: iovec(), count: Block.limit)
        return block
    }

    func give(_ block: Block) {
        block.header.pointee = msghdr()
        free.append(block)
    }
}
