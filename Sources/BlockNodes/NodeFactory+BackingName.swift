import BlockDrivers
import BlockGraph
import IOLoop
import QMPSchema
import Qcow2Format

extension BlockGraph {
    /// A node and the images below it: those that filters show, and backing images.
    public func chain(below top: BlockNode) -> [BlockNode] {
        var chain = [top]
        while let last = chain.last, let next = last.driver.filteredChild ?? last.driver.backingChild {
            chain.append(next.node)
        }
        return chain
    }
}

extension NodeFactory {
    /// Changes the name of the backing file in an image's header, durably. The backing image in use stays.
    ///
    /// The header gets the format of the backing image in use as well, so that nobody has to guess it. A node that is read-only is
    /// reopened for writing while the header changes.
    /// - Parameter name: the new name, which is not checked; empty for none.
    /// Errors: the image has no backing image; the name does not fit the header; the image cannot be written.
    public func changeBackingFile(of node: BlockNode, to name: String) async throws(BlockError) {
        guard let driver = node.driver as? Qcow2Driver, let backing = driver.backing?.node else {
            throw BlockError("not allowing backing file change on an image without a backing file")
        }
        try await withWriteAccess(to: node) { () async throws(BlockError) in
            do throws(Errno) {
                try await driver.image.updateHeader { header in
                    header.backingFileName = name.isEmpty ? nil : name
                    header.backingFormat = name.isEmpty ? nil : backing.driver.formatName
                }
            } catch {
                throw BlockError("Could not change backing file to '\(name)'", causedBy: error)
            }
        }
        driver.automaticBackingFile = name
    }

    /// Changes the name and format of the backing file in the header of an image that is open for writing, durably.
    ///
    /// - Parameters:
    ///   - name: the new name, which is not checked; empty for none.
    ///   - format: its format; nil for none that is said.
    /// Errors: the format has no backing files; the name does not fit the header; the image cannot be written.
    public func changeBackingFile(
        of node: BlockNode, to name: String, format: String?
    ) async throws(BlockError) {
        guard let driver = node.driver as? Qcow2Driver else { throw BlockError("\(Errno.ENOTSUP)", errno: .ENOTSUP) }
        do throws(Errno) {
            try await driver.image.updateHeader { header in
                header.backingFileName = name.isEmpty ? nil : name
                header.backingFormat = name.isEmpty ? nil : format
            }
        } catch {
            throw BlockError("\(error)", errno: error)
        }
        driver.automaticBackingFile = name.isEmpty ? nil : name
    }

    /// Runs the body while the node can be written, though its options may say otherwise before and after.
    public func withWriteAccess(to node: BlockNode, _ body: () async throws(BlockError) -> Void)
        async throws(BlockError)
    {
        let access = try await makeWritable(node)
        do {
            try await body()
        } catch {
            try? await takeBack(access)  // The first error is the one to tell.
            throw error
        }
        try await takeBack(access)
    }

    /// Makes a node writable, and the files that hold its image, as far as they are read-only.
    ///
    /// - Returns: what `takeBack` needs.
    /// Errors: a file cannot be opened for writing; the image is damaged.
    public func makeWritable(_ node: BlockNode) async throws(BlockError) -> WriteAccess {
        var nodes: [BlockNode] = []
        var next: BlockNode? = node
        while let node = next, node.sourceOptions is BlockdevOptions {
            if node.isReadOnly { nodes.append(node) }
            next = node.children.first { $0.role.contains(.primary) }?.node
        }
        try await setReadOnly(false, nodes)
        return WriteAccess(nodes: nodes)
    }

    /// Makes nodes read-only that `makeWritable` has made writable.
    public func takeBack(_ access: WriteAccess) async throws(BlockError) {
        try await setReadOnly(true, access.nodes)
    }

    /// Makes a node read-only that is a backing image from now on, and the files of its image that were defined with it.
    ///
    /// Errors: somebody writes to it; what the node keeps cannot be stored.
    public func makeReadOnly(_ node: BlockNode) async throws(BlockError) {
        var nodes = [node]
        while let file = nodes.last?.children.first(where: { $0.role.contains(.primary) })?.node, !file.isOwnedByMonitor
        {
            nodes.append(file)
        }
        try await setReadOnly(true, nodes.filter { !$0.isReadOnly })
    }

    /// Makes nodes read-only or writable, and leaves all else.
    private func setReadOnly(_ isReadOnly: Bool, _ nodes: [BlockNode]) async throws(BlockError) {
        guard !nodes.isEmpty else { return }
        var items: [ReopenItem] = []
        for node in nodes {
            guard let source = node.sourceOptions as? BlockdevOptions else { continue }
            var options = node.options
            options.isReadOnly = isReadOnly
            items.append(
                ReopenItem(
                    node: node, options: options,
                    driverOptions: try configuration(of: source.driver, options).forReopening, sourceOptions: source,
                    newChildren: []))
        }
        try await graph.reopen(items)
    }
}

/// The nodes that are writable for some time only.
public struct WriteAccess: Sendable {
    let nodes: [BlockNode]
}
