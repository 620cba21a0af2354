import BlockGraph
import Glibc
import IOLoop
import StorageTestSupport

/// What a disk should hold, and random requests for it.
struct DiskModel {
    /// The bytes.
    var bytes: [UInt8]
    let shape: Qcow2Shape
    var random: SeededGenerator

    /// A request.
    enum Request: Sendable {
        case read
        case write([UInt8])
        case zero(WriteFlags)
        case discard
        case compressed([UInt8])
        case flush

        var name: String {
            switch self {
            case .read: "read"
            case .write: "write"
            case .zero(let flags): "zero \(flags.rawValue)"
            case .discard: "discard"
            case .compressed: "compressed"
            case .flush: "flush"
            }
        }
    }

    init(_ bytes: [UInt8], _ shape: Qcow2Shape, seed: UInt64) {
        self.bytes = bytes
        self.shape = shape
        random = SeededGenerator(seed: seed)
    }

    /// Some range: short ones and long ones, aligned or not.
    mutating func range() -> ByteRange {
        let longest = min(bytes.count, shape.clusterSize * 5)
        let exponent = Int.random(in: 0...(Int.bitWidth - longest.leadingZeroBitCount - 1), using: &random)
        var count = Int.random(in: 1...min(longest, max(1, 2 << exponent)), using: &random)
        var start = Int.random(in: 0...(bytes.count - count), using: &random)
        let units = [1, 512, 512, 4096, shape.clusterSize / 32, shape.clusterSize, shape.clusterSize]
        let unit = max(1, units.randomElement(using: &random) ?? 1)
        start -= start % unit
        count = min(bytes.count - start, (count + unit - 1) / unit * unit)
        return Int64(start)..<Int64(start + count)
    }

    /// Bytes that compress well, or badly.
    mutating func data(_ count: Int) -> [UInt8] {
        if Bool.random(using: &random) {
            return [UInt8](repeating: UInt8.random(in: 0...255, using: &random), count: count)
        }
        var words = [UInt64](repeating: 0, count: count / 8 + 1)
        for index in words.indices { words[index] = random.next() }
        return words.withUnsafeBytes { Array($0.prefix(count)) }
    }

    /// Some request for a range.
    mutating func request(_ range: ByteRange) -> Request {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<45: return .write(data(Int(range.length)))
        case 45..<65:
            let flags: [WriteFlags] = [[], .mayUnmap, .forceUnitAccess, [.mayUnmap, .noFallback], .noFallback]
            return .zero(flags.randomElement(using: &random) ?? [])
        case 65..<78: return .discard
        case 78..<97: return .read
        default: return .flush
        }
    }

    /// Changes the bytes as the request does.
    mutating func apply(_ request: Request, _ range: ByteRange) {
        switch request {
        case .read, .flush: break
        case .write(let data), .compressed(let data): set(range, data)
        case .zero: fill(range, 0)
        case .discard:
            // There is no way to say it.
            if shape.isVersion2, shape.backing != .none { return }
            fill(range.aligned(inwardTo: Int64(shape.clusterSize)), 0)
        }
    }

    mutating func fill(_ range: ByteRange, _ byte: UInt8) {
        guard !range.isEmpty else { return }
        bytes.withUnsafeMutableBytes { bytes in
            let place = UnsafeMutableRawBufferPointer(rebasing: bytes[Int(range.lowerBound)..<Int(range.upperBound)])
            _ = place.initializeMemory(as: UInt8.self, repeating: byte)
        }
    }

    mutating func set(_ range: ByteRange, _ data: [UInt8]) {
        bytes.withUnsafeMutableBytes { bytes in
            UnsafeMutableRawBufferPointer(rebasing: bytes[Int(range.lowerBound)..<Int(range.upperBound)])
                .copyBytes(from: data)
        }
    }

    /// The first byte of the range that differs from the bytes of a buffer.
    func difference(_ range: ByteRange, _ buffer: IOBuffer) -> Int64? {
        bytes.withUnsafeBytes { bytes in
            let mine = bytes[Int(range.lowerBound)..<Int(range.upperBound)]
            guard let base = UnsafeRawBufferPointer(rebasing: mine).baseAddress else { return nil }
            if memcmp(base, buffer.base, buffer.count) == 0 { return nil }
            return mine.indices.first { bytes[$0] != buffer.bytes[$0 - mine.startIndex] }.map { Int64($0) }
        }
    }
}

extension BlockBackend {
    /// Carries out a request that changes something, or a flush.
    func carryOut(_ request: DiskModel.Request, _ range: ByteRange) async throws(Errno) {
        switch request {
        case .read: break
        case .write(let data): try await writeBytes(data, at: range.lowerBound)
        case .compressed(let data): try await writeBytes(data, at: range.lowerBound, flags: .compressed)
        case .zero(let flags):
            do {
                try await writeZeroes(range, flags: flags)
            } catch .ENOTSUP where flags.contains(.noFallback) {
                try await writeZeroes(range, flags: flags.subtracting(.noFallback))
            }
        case .discard: try await discard(range)
        case .flush: try await flush()
        }
    }

    /// The first byte of the range that is not as the model says; nil where there is none.
    func difference(from model: DiskModel, _ range: ByteRange) async throws(Errno) -> Int64? {
        let buffer = BufferPool.shared.take(count: Int(range.length))
        defer { BufferPool.shared.give(buffer) }
        buffer.fill(0xEE)
        try await read(range, into: buffer)
        return model.difference(range, buffer)
    }
}
