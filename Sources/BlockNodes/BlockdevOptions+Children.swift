import QMPSchema

extension BlockdevOptions.Driver {
    /// The children that the options name or define, under their names as children.
    public var children: [(name: String, reference: BlockdevRef)] {
        switch self {
        case .file, .hostDevice, .nullCo, .nullAio: []
        case .raw(let raw): [("file", raw.file)]
        case .copyBeforeWrite(let cbw): [("file", cbw.file), ("target", cbw.target)]
        case .copyOnRead(let cor): [("file", cor.file)]
        case .snapshotAccess(let access): [("file", access.file)]
        case .throttle(let throttle): [("file", throttle.file)]
        case .qcow2(let qcow2): [("file", qcow2.file)] + qcow2.otherChildren
        case .blkdebug(let blkdebug): [("image", blkdebug.image)]
        }
    }
}

extension BlockdevOptionsQcow2 {
    /// The children but "file".
    fileprivate var otherChildren: [(name: String, reference: BlockdevRef)] {
        var children: [(name: String, reference: BlockdevRef)] = []
        if let dataFile { children.append(("data-file", dataFile)) }
        switch backing {
        case nil, .null: break
        case .definition(let options): children.append(("backing", .definition(options)))
        case .reference(let name): children.append(("backing", .reference(name)))
        }
        return children
    }
}
