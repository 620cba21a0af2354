import IOLoop
import BlockGraph
import QMPSchema

extension NodeOptions {
    /// The options of a node as QMP gives them; those that are missing come from the parent's node where the node is
    /// defined in the parent's options, else they have QMP's defaults.
    init(_ options: BlockdevOptions, inheriting parent: NodeOptions?) {
        self.init()
        isReadOnly = options.readOnly ?? parent?.isReadOnly ?? false
        isAutoReadOnly = options.autoReadOnly ?? parent?.isAutoReadOnly ?? false
        cacheDirect = options.cache?.direct ?? parent?.cacheDirect ?? false
        cacheNoFlush = options.cache?.noFlush ?? parent?.cacheNoFlush ?? false
        forceShare = options.forceShare ?? parent?.forceShare ?? false
        // Drivers pass on only the discards that their own option lets through.
        discard = options.discard.map { $0 == .unmap ? .unmap : .ignore } ?? (parent == nil ? .ignore : .unmap)
        switch options.detectZeroes {
        case nil, .off: detectZeroes = .off
        case .on: detectZeroes = .on
        case .unmap: detectZeroes = .unmap
        }
    }

    /// What a child that is defined in the node's options, or opened without any, takes over.
    ///
    /// A backing image is only read.
    func inherited(byChild name: String) -> NodeOptions {
        guard name == "backing" else { return self }
        var options = self
        options.isReadOnly = true
        options.isAutoReadOnly = false
        return options
    }

    /// Checks which options go together. Errors: with QEMU's texts.
    func check() throws(BlockError) {
        if forceShare, !isReadOnly {
            throw BlockError("force-share=on can only be used with read-only images")
        }
        if detectZeroes == .unmap, discard != .unmap {
            throw BlockError("setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
        }
    }
}
