import BlockGraph
import QMPSchema

extension BlockDirtyInfo {
    /// What QMP tells of a bitmap.
    public init(_ info: DirtyBitmapInfo) {
        self.init(
            name: info.name, count: info.count, granularity: UInt32(clamping: info.granularity),
            recording: info.recording, busy: info.busy, persistent: info.persistent,
            inconsistent: info.inconsistent ? true : nil)
    }
}
