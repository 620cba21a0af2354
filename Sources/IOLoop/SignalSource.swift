import CLiburing
import Glibc

/// Signals as something a task waits for, as `signalfd(2)`.
public final class SignalSource: Sendable {
    private let descriptor: FileDescriptor

    /// Blocks the usual delivery of `signals` to the calling thread and the threads it starts later, so make it in
    /// the main thread before there are others; loop threads block all signals anyway.
    ///
    /// Throws `EMFILE`, `ENFILE`, and `EINVAL` for what is no signal.
    public init(_ signals: [Int32]) throws(Errno) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals where sigaddset(&set, signal) != 0 { throw .EINVAL }
        descriptor = FileDescriptor(
            rawValue: try Errno.checkCall(signalfd(-1, &set, Int32(SFD_CLOEXEC))))
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    deinit {
        descriptor.closeNow()
    }

    /// Waits for the next signal and returns its number. Throws `ECANCELED`.
    public func next() async throws(Errno) -> Int32 {
        let size = MemoryLayout<signalfd_siginfo>.size
        let count: Int
        let buffer = BufferPool.shared.take(count: size)
        defer { BufferPool.shared.give(buffer) }
        count = try await descriptor.readStream(into: buffer)
        guard count == size else { throw .EIO }
        return Int32(bitPattern: buffer.base.load(as: signalfd_siginfo.self).ssi_signo)
    }
}
