import BlockGraph
import IOLoop
import Synchronization

/// Old data in memory on their way to the target. Who refers to it may read the buffer, which goes back to its pool afterwards.
final class DelayedCopy: Sendable {
    let area: ByteRange
    let buffer: IOBuffer
    /// Of the tracker of arrivals.
    let token: RangeTracker.Token

    fileprivate init(area: ByteRange, buffer: IOBuffer, token: RangeTracker.Token) {
        self.area = area
        self.buffer = buffer
        self.token = token
    }

    deinit { BufferPool.shared.give(buffer) }

    /// The bytes of a range within the area.
    func bytes(_ range: ByteRange) -> IOBuffer {
        buffer[Int(range.lowerBound - area.lowerBound)..<Int(range.upperBound - area.lowerBound)]
    }
}

/// Old data that wait in memory for their way to the target.
extension SnapshotState {
    /// Ends the copy of an area for those who wait for it: its old data are in memory, in a buffer of the pool that is taken
    /// over. What is returned is to be given back with `endDelay`.
    func delayCopy(_ claimed: ClaimedArea, in buffer: IOBuffer) -> DelayedCopy {
        account.withLock { account in
            defer { copies.end(claimed.token) }
            guard let token = arrivals.tryBegin(claimed.area, exclusive: true) else {
                preconditionFailure("a cluster is copied while its old data are on their way")
            }
            let copy = DelayedCopy(area: claimed.area, buffer: buffer, token: token)
            account.delayed.append(copy)
            account.inFlight -= granules(claimed.area)
            account.copied += granules(claimed.area)
            done.withBits { $0.set(claimed.area) }
            return copy
        }
    }

    /// Old data have reached the target; or have not, for a reason, which breaks the point in time: the guest may have
    /// overwritten the source.
    func endDelay(_ copy: DelayedCopy, _ error: Errno?) {
        let observer = account.withLock { account -> (@Sendable () -> Void)? in
            defer { arrivals.end(copy.token) }
            account.delayed.removeAll { $0 === copy }
            guard let error else { return nil }
            account.copied -= granules(copy.area)
            done.withBits { $0.reset(covering: copy.area) }
            markToBeCopied(copy.area)
            return account.breakOnce(error)
        }
        observer?()
    }
}
