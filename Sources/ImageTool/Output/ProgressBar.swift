import Glibc
import IOLoop

/// The progress of a long command, which `-p` shows on a line of standard output that is written over and over.
@GraphActor
struct ProgressBar {
    private let isShown: Bool
    private var shown: Int64?

    /// A bar that has printed nothing; one that is not shown never prints anything.
    init(isShown: Bool) { self.isShown = isShown }

    /// Says how much of the work is done. Prints where that makes a difference of a hundredth of a percent.
    mutating func update(done: Int64, of total: Int64) {
        guard isShown else { return }
        let fraction = total > 0 ? Double(done) / Double(total) : 1
        let step = Int64(fraction * 10000)
        guard step != shown else { return }
        shown = step
        print("    (\(Self.percent(fraction))/100%)\r", terminator: "")
        fflush(nil)
    }

    /// Ends the line; nothing is shown any more.
    mutating func finish() {
        guard isShown else { return }
        print("")
        fflush(nil)
    }

    private static func percent(_ fraction: Double) -> String {
        let hundredths = Int64((fraction * 10000).rounded())
        let (whole, part) = (hundredths / 100, hundredths % 100)
        return "\(whole).\(part < 10 ? "0" : "")\(part)"
    }
}
