import BlockGraph
import IOLoop

/// An image that is copied, at its place among those that are joined.
struct CopySource: Sendable {
    /// The access to it.
    let backend: BlockBackend
    /// The layer at which what is to be copied ends: it and all below are not looked at. Nil for everything.
    let base: BlockNode?
    /// Where it begins in the copy, and where the next one begins: a multiple of 512 bytes.
    let range: ByteRange
}

/// What is to be done with a range of the copy.
enum CopyAction: Hashable, Sendable {
    /// It holds data, which is read and written.
    case copy
    /// It is made zero.
    case zero
    /// Nothing: the target has it already.
    case skip
}

/// The images to copy, one after the other.
struct CopySources: Sendable {
    /// The images in their order, without gaps.
    let sources: [CopySource]

    /// The end of the last one.
    var length: Int64 { sources.last?.range.upperBound ?? 0 }

    /// The images, joined in their order; the length of each is rounded up to sectors of 512 bytes.
    @GraphActor
    init(_ backends: [(backend: BlockBackend, base: BlockNode?)]) {
        var start: Int64 = 0
        sources = backends.map { backend, base in
            let end = start + backend.length.alignedUp(to: 512)
            defer { start = end }
            return CopySource(backend: backend, base: base, range: start..<end)
        }
    }

    /// The image at an offset.
    func source(at offset: Int64) -> CopySource? { sources.first { $0.range.contains(offset) } }

    /// What is to be done from an offset below `length` on, and for how many bytes that holds.
    func action(
        at offset: Int64, _ configuration: CopyConfiguration
    ) async throws(Errno) -> (action: CopyAction, length: Int64) {
        guard let source = source(at: offset) else { return (.skip, max(0, length - offset)) }
        let place = offset - source.range.lowerBound
        let rest = source.range.upperBound - offset
        let wanted = place..<place + rest
        if configuration.hasTargetBacking {
            let status = try await source.backend.blockStatusAbove(base: source.base, wanted).status
            guard status.length > 0 else { return (.zero, rest) }
            if status.isZero, status.isAllocated { return (.zero, status.length) }
            return (status.isData || status.isAllocated ? .copy : .skip, status.length)
        }
        let status = try await source.backend.blockStatusAbove(wanted).status
        // What is behind the end, up to a whole sector, is zero.
        guard status.length > 0 else { return (.zero, rest) }
        guard status.isZero else { return (.copy, status.length) }
        return (configuration.isTargetZero && configuration.sparseSize > 0 ? .skip : .zero, status.length)
    }
}
