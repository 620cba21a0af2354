import BlockGraph
import QMPSchema

extension SnapshotInfo {
    /// What QMP tells of an internal snapshot.
    public init(_ snapshot: InternalSnapshot) {
        self.init(
            id: snapshot.id, name: snapshot.name, vmStateSize: Int64(clamping: snapshot.vmStateSize),
            dateSec: Int64(snapshot.seconds), dateNsec: Int64(snapshot.nanoseconds),
            vmClockSec: Int64(snapshot.vmClock / 1_000_000_000), vmClockNsec: Int64(snapshot.vmClock % 1_000_000_000),
            icount: snapshot.instructionCount.map(Int64.init(bitPattern:)))
    }
}
