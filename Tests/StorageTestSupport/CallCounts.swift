import CCallCounts
import Glibc
import IOLoop

/// What a loop's thread has asked of the C library and of the kernel. Exact; it does not depend on the machine.
package struct CallCounts: Sendable {
    /// Allocations of memory.
    package var allocations = 0
    /// Bytes copied in user space, by memcpy and memmove.
    package var copiedBytes = 0
    /// System calls: of the C library, and io_uring_enter.
    package var systemCalls = 0
    /// Waits for locks that other threads held, and wake-ups of such waits.
    package var lockWaits = 0

    /// Whether there is anything to be counted: not under a sanitizer.
    package static var isAvailable: Bool { cairn_counts_calls() }

    package static func - (later: CallCounts, earlier: CallCounts) -> CallCounts {
        CallCounts(
            allocations: later.allocations - earlier.allocations, copiedBytes: later.copiedBytes - earlier.copiedBytes,
            systemCalls: later.systemCalls - earlier.systemCalls, lockWaits: later.lockWaits - earlier.lockWaits)
    }
}

/// Reads the counts of a loop's thread, from any thread, as long as the loop runs.
package struct LoopCounter: @unchecked Sendable {
    // Unchecked: the counts are read and written as atomics, and the loop's entries only when it waits.
    private let loop: IOLoop
    private let counts: UnsafePointer<cairn_call_counts>

    package init(of loop: IOLoop) async {
        self.loop = loop
        let address = await on(loop) { () async throws(Never) -> UInt in
            UInt(bitPattern: cairn_call_counts_of_thread())
        }
        guard let counts = UnsafePointer<cairn_call_counts>(bitPattern: address) else {
            fatalError("a thread without counts")
        }
        self.counts = counts
    }

    /// The counts up to now.
    package var now: CallCounts {
        let read = cairn_read_call_counts(counts)
        return CallCounts(
            allocations: Int(read.allocations), copiedBytes: Int(read.copied_bytes),
            systemCalls: Int(read.system_calls) + loop.kernelEntries, lockWaits: Int(read.futex_calls))
    }
}
