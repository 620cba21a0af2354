/// A bucket with a hole: what passes is poured in, and leaks at the limited rate. While it is too full nobody may pass.
///
/// Without a burst rate the bucket holds what leaks in a tenth of a second. With one it holds a burst of the full length;
/// and where a burst may last longer than a second, a second bucket that leaks at the burst's rate keeps the burst itself
/// within its rate. A request may overfill the bucket: it is the next one that waits.
struct LeakyBucket: Hashable, Sendable {
    private let average: Double
    private let burst: Double
    private let burstLength: Double
    private var level = 0.0
    private var burstLevel = 0.0

    init(_ limit: ThrottleLimit) {
        average = Double(limit.average)
        burst = Double(limit.burst)
        burstLength = Double(limit.burstLength)
    }

    private var hasBurstBucket: Bool { burst > 0 && burstLength > 1 }

    /// Lets time pass.
    mutating func leak(seconds: Double) {
        guard average > 0 else { return }
        level = max(0, level - average * seconds)
        if hasBurstBucket { burstLevel = max(0, burstLevel - burst * seconds) }
    }

    /// Pours in what passes.
    mutating func pour(_ units: Double) {
        guard average > 0 else { return }
        level += units
        if hasBurstBucket { burstLevel += units }
    }

    /// How many seconds it takes until somebody may pass; 0 where nobody needs to wait.
    var wait: Double {
        guard average > 0 else { return 0 }
        let capacity = burst > 0 ? burst * burstLength : average / 10
        if level > capacity { return (level - capacity) / average }
        guard hasBurstBucket, burstLevel > burst / 10 else { return 0 }
        return (burstLevel - burst / 10) / burst
    }
}
