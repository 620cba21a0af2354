import QMPSchema

extension BlockdevOptions.Driver {
    /// The children that the options name or define, under their names as children.
    public var children: [(name: String, reference: BlockdevRef)] {
        switch self {
        case .file, .hostDevice, .nullCo, .nullAio: []
        case .raw(let raw): [("file", raw.file)]
        case .copyBeforeWrite(let cbw): [("file", cbw.file), ("target", cbw.target)]
        case .snapshotAccess(let access): [("file", access.file)]
        case .throttle(let throttle): [("file", throttle.file)]
        case .blkdebug(let blkdebug): [("image", blkdebug.image)]
        }
    }
}
