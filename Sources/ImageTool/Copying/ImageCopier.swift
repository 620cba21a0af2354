import BlockGraph
import Glibc
import IOLoop
import Synchronization

/// Copies images into another with several requests at a time, on all processors.
///
/// Reading is driven by block status: what reads as zeroes is not read. Data is looked through for zeroes. Requests begin in
/// the order of the image, so that formats lay it out in that order.
final class ImageCopier: Sendable {
    let sources: CopySources
    let target: BlockBackend
    let configuration: CopyConfiguration
    /// Told of each number of bytes that has been copied, on any loop.
    let didCopy: @Sendable (Int64) -> Void
    /// Told of each part that could not be read and is replaced by zeroes, on any loop.
    let didSalvage: @Sendable (Int64, Errno) -> Void

    private let plan: CopyPlan
    private let limiter: RateLimiter
    private let turns = TurnList()
    private let failure = Mutex<CopyError?>(nil)

    /// A copy that has not begun.
    init(
        from sources: CopySources, to target: BlockBackend, _ configuration: CopyConfiguration,
        didCopy: @escaping @Sendable (Int64) -> Void = { _ in },
        didSalvage: @escaping @Sendable (Int64, Errno) -> Void = { _, _ in }
    ) {
        self.sources = sources
        self.target = target
        self.configuration = configuration
        self.didCopy = didCopy
        self.didSalvage = didSalvage
        plan = CopyPlan(sources, configuration)
        limiter = RateLimiter(bytesPerSecond: configuration.bytesPerSecond)
    }

    /// Copies everything. Error: the first that a worker met.
    @GraphActor
    func run() async throws(CopyError) {
        let loops = Loops(count: min(configuration.workers, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
        defer { loops.stop() }
        let group = WorkerGroup()
        for index in 0..<configuration.workers {
            group.start(on: loops.loop(index)) { [self] in await work() }
        }
        await group.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    private func work() async {
        let size = configuration.isCompressed ? configuration.granularity : CopyConfiguration.chunkSize
        let buffer = BufferPool.shared.take(count: Int(size))
        defer { BufferPool.shared.give(buffer) }
        do throws(CopyError) {
            while failure.withLock({ $0 == nil }), let part = try await plan.next() {
                await limiter.wait(for: part.range.length)
                switch part.action {
                case .skip: break
                case .zero: try await writeZeroes(part)
                case .copy: try await copy(part, buffer[0..<Int(part.range.length)])
                }
            }
        } catch {
            failure.withLock { $0 = $0 ?? error }
            turns.giveUp()
        }
    }

    private func copy(_ part: CopyPart, _ buffer: IOBuffer) async throws(CopyError) {
        try await read(part.range, into: buffer)
        await turn(of: part)
        if configuration.isCompressed {
            try await writeCompressed(part.range, buffer)
        } else if configuration.sparseSize == 0 {
            try await write(part.range, buffer)
        } else {
            let runs = DataRuns(
                buffer, at: part.range.lowerBound, granularity: configuration.granularity,
                sparseSize: configuration.sparseSize)
            for run in runs {
                let start = part.range.lowerBound
                let range = start + Int64(run.range.lowerBound)..<start + Int64(run.range.upperBound)
                if run.isZero {
                    try await writeZeroes(range)
                } else {
                    try await write(range, buffer[run.range])
                }
            }
        }
        didCopy(part.range.length)
    }

    /// Waits until it is the part's turn to write, and lets the next one follow.
    private func turn(of part: CopyPart) async {
        if !configuration.isUnordered { await turns.take(part.number) }
    }

    // MARK: Reading

    /// Reads a part of the copy, which may lie in several sources.
    private func read(_ range: ByteRange, into buffer: IOBuffer) async throws(CopyError) {
        var offset = range.lowerBound
        while offset < range.upperBound, let source = sources.source(at: offset) {
            let end = min(range.upperBound, source.range.upperBound)
            let start = Int(offset - range.lowerBound)
            let place = offset - source.range.lowerBound..<end - source.range.lowerBound
            try await read(place, of: source, into: buffer[start..<start + Int(place.length)], at: offset)
            offset = end
        }
    }

    private func read(
        _ range: ByteRange, of source: CopySource, into buffer: IOBuffer, at offset: Int64
    ) async throws(CopyError) {
        // The last sector may be longer than the image.
        let inside = range.clamped(to: 0..<max(range.lowerBound, source.backend.length))
        buffer[Int(inside.length)...].fill(0)
        do throws(Errno) {
            try await source.backend.read(inside, into: buffer[0..<Int(inside.length)])
        } catch {
            guard configuration.salvages else { throw CopyError(.read(offset), error) }
            await salvage(inside, of: source, into: buffer, at: offset)
        }
    }

    /// Reads sector by sector; what cannot be read is zero.
    private func salvage(_ range: ByteRange, of source: CopySource, into buffer: IOBuffer, at offset: Int64) async {
        for piece in range.pieces(ofAtMost: 512) {
            let start = Int(piece.lowerBound - range.lowerBound)
            let part = buffer[start..<start + Int(piece.length)]
            do throws(Errno) {
                try await source.backend.read(piece, into: part)
            } catch {
                part.fill(0)
                didSalvage(offset + Int64(start), error)
            }
        }
    }

    // MARK: Writing

    private func write(_ range: ByteRange, _ buffer: IOBuffer, flags: WriteFlags = []) async throws(CopyError) {
        do throws(Errno) {
            try await target.write(range, from: buffer, flags: flags)
        } catch {
            throw CopyError(.write(range.lowerBound), error)
        }
    }

    private func writeCompressed(_ range: ByteRange, _ buffer: IOBuffer) async throws(CopyError) {
        if configuration.sparseSize > 0, buffer.isZero { return try await writeZeroes(range) }
        try await write(range, buffer, flags: .compressed)
    }

    private func writeZeroes(_ part: CopyPart) async throws(CopyError) {
        await turn(of: part)
        if configuration.sparseSize > 0 {
            try await writeZeroes(part.range)
        } else {
            let zeroes = BufferPool.shared.take(count: Int(part.range.length))
            defer { BufferPool.shared.give(zeroes) }
            zeroes.fill(0)
            try await write(part.range, zeroes, flags: configuration.isCompressed ? .compressed : [])
            didCopy(part.range.length)
        }
    }

    /// Makes a range zero that is not known to be.
    private func writeZeroes(_ range: ByteRange) async throws(CopyError) {
        guard !configuration.isTargetZero || configuration.hasTargetBacking else { return }
        do throws(Errno) {
            try await target.writeZeroes(range, flags: .mayUnmap)
        } catch {
            throw CopyError(.write(range.lowerBound), error)
        }
    }
}
