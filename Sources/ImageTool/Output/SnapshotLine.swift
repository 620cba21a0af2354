import Glibc
import QMPSchema

/// The lines of a list of internal snapshots.
enum SnapshotLine {
    /// The line above the snapshots.
    static let heading = line("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT")

    /// The line of a snapshot.
    static func text(_ snapshot: SnapshotInfo) -> String {
        let seconds = snapshot.vmClockSec
        let clock =
            padded(seconds / 3600, 4) + ":" + padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2) + "."
            + padded(snapshot.vmClockNsec / 1_000_000, 3)
        let count = snapshot.icount.map { $0 == -1 ? "--" : String($0) } ?? "--"
        return line(
            snapshot.id, snapshot.name, Sizes.text(snapshot.vmStateSize), date(snapshot.dateSec), clock, count)
    }

    private static func line(
        _ id: String, _ tag: String, _ size: String, _ date: String, _ clock: String, _ count: String
    ) -> String {
        let columns = [
            left(id, 7), left(tag, 16), right(size, 8), right(date, 19), right(clock, 15), right(count, 10),
        ]
        return columns.joined(separator: " ")
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    /// The local time of a second since 1970.
    private static func date(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        localtime_r(&time, &parts)
        return "\(padded(Int64(parts.tm_year) + 1900, 4))-\(padded(Int64(parts.tm_mon) + 1, 2))-"
            + "\(padded(Int64(parts.tm_mday), 2)) \(padded(Int64(parts.tm_hour), 2)):"
            + "\(padded(Int64(parts.tm_min), 2)):\(padded(Int64(parts.tm_sec), 2))"
    }
}
