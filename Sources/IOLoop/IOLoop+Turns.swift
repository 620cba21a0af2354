import CLiburing
import CLinuxShims
import Glibc

// The loop's turns: run what is ready, hand the prepared operations to the kernel, take its completions.
extension IOLoop {
    /// Jobs that follow on one another within a turn before the kernel is entered again.
    private static let followUpJobs = 256
    /// Bytes of buffers that a loop keeps however long it has nothing to do, and seconds that it keeps more.
    private static let idleBuffers = 1 << 20
    private static let restingTime: Int64 = 1

    func runUntilStopped() {
        cairn_set_current_loop(Unmanaged.passUnretained(self).toOpaque())
        ring.enable()
        armWakeUp()
        while runTurn() {}
        ring.disable()
        cairn_set_current_loop(nil)
    }

    /// One turn; false when the loop was stopped.
    private func runTurn() -> Bool {
        renewTurn()
        runReadyJobs()
        let verdict = inbox.collect(
            wouldSleep: ready.isEmpty && nextTurn.isEmpty && yielding.isEmpty,
            jobs: { ready.append($0) },
            cancellations: { cancelOperation($0) })
        if verdict == .stop { return false }
        if verdict == .sleep { sleep() } else { enterKernel(wait: false) }
        drainCompletions()
        return true
    }

    /// Waits for a completion: looks for one for a while, where that has paid of late, and sleeps then.
    private func sleep() {
        guard polling.isEnabled else {
            hasWaited = true
            return enterKernel(wait: true)
        }
        let start = MonotonicTime.now.nanoseconds
        enterKernel(wait: false)
        if !ring.hasCompletions {
            hasWaited = true
            // Several requests that the kernel's workers copy want the processor more than the loop does.
            if storageOperations <= 1, let duration = polling.duration { ring.poll(nanoseconds: duration) }
            enterKernel(wait: !ring.hasCompletions)
        }
        polling.note(wait: MonotonicTime.now.nanoseconds - start)
    }

    private func runReadyJobs() {
        let serial = asUnownedSerialExecutor()
        let task = asUnownedTaskExecutor()
        var budget = max(ready.count, IOLoop.followUpJobs)
        while budget > 0 {
            guard let job = ready.popFirst() else {
                if yielding.isEmpty { break }
                while let continuation = yielding.popFirst() { continuation.resume() }
                continue
            }
            job.runSynchronously(isolatedTo: serial, taskExecutor: task)
            jobDidReturn()
            budget -= 1
        }
    }

    /// Hands the prepared entries over. What the kernel did not take stays prepared for the next time.
    private func enterKernel(wait: Bool) {
        guard wait || ring.hasNews else { return }
        kernelEntries += 1
        let result: Int32
        if wait, buffers.keptBytes > IOLoop.idleBuffers {
            result = ring.enter(idle: storageOperations == 0, seconds: IOLoop.restingTime)
            if !ring.hasCompletions { giveMemoryBack() }
        } else {
            result = ring.enter(wait: wait, idle: storageOperations == 0)
        }
        if result >= 0 || result == -EINTR || result == -ETIME { return }
        switch -result {
        case EAGAIN, EBUSY, ENOMEM:
            // The completion ring overflowed, or memory is short. Completions make room; without any, wait for one.
            if !drainCompletions() { ring.breathe() }
        default:
            preconditionFailure("io_uring_enter failed: \(Errno(rawValue: -result))")
        }
    }

    /// Frees the buffers that the loop keeps, when nothing has happened for a while: it may be long until they are needed again.
    private func giveMemoryBack() {
        buffers.freeAll()
        BufferPool.shared.freeKept()
        // What is freed stays with malloc(3) where it does not lie at the end of an arena.
        cairn_trim_memory()
    }

    /// A free entry of the submission queue; enters the kernel when all are in use.
    func nextEntry() -> UnsafeMutablePointer<io_uring_sqe> {
        while true {
            if let entry = ring.nextEntry() { return entry }
            enterKernel(wait: false)
        }
    }

    /// Takes all completions off the ring and makes their tasks ready; false when there were none.
    ///
    /// May be entered from a job that needs an entry: tasks become ready here, they never run here.
    @discardableResult
    private func drainCompletions() -> Bool {
        var any = false
        while let (userData, result) = ring.popCompletion() {
            any = true
            complete(userData, result)
        }
        return any
    }

    private func complete(_ userData: UInt64, _ result: Int32) {
        switch UserData(userData) {
        case .continuation(let continuation):
            storageOperations -= 1
            continuation.resume(returning: result)
        case .peerContinuation(let continuation):
            continuation.resume(returning: result)
        case .slot:
            slots.complete(userData, result)
        case .wakeUp:
            armWakeUp()
        case .ignored:
            break
        }
    }

    /// Reads the inbox's eventfd, so that another thread's news ends the loop's sleep.
    private func armWakeUp() {
        let entry = nextEntry()
        io_uring_prep_read(entry, inbox.eventDescriptor, wakeUps, UInt32(MemoryLayout<UInt64>.size), 0)
        entry.pointee.user_data = UserData.wakeUpValue
    }
}
