/// Something to do when the job that runs on a loop now has returned to the loop: when its task waits for something, or is over.
///
/// For who wants to know whether a call waited, without which it need not prepare for others going on meanwhile. Made once, and
/// used for many jobs.
public final class JobObserver {
    fileprivate let body: () -> Void

    /// An observer that runs `body` on the loop's thread, between two jobs.
    public init(_ body: @escaping () -> Void) { self.body = body }
}

extension IOLoop {
    /// Tells the observer when the running job has returned, once. On the loop's thread, in a job; the observer stays alive until
    /// then. There is one for each job: a second one takes the place of the first.
    @inline(__always)
    public func observeReturn(_ observer: JobObserver) { returnObserver = Unmanaged.passUnretained(observer) }

    /// Whether the job has not returned since `observeReturn`: nothing was waited for. The observer is not told any more.
    @inline(__always)
    public func endObservation() -> Bool {
        defer { returnObserver = nil }
        return returnObserver != nil
    }

    /// Tells of the return of a job.
    @inline(__always)
    func jobDidReturn() {
        guard let observer = returnObserver else { return }
        returnObserver = nil
        observer._withUnsafeGuaranteedRef { $0.body() }
    }
}
