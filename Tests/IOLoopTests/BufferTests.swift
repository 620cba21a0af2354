@testable import IOLoop
import StorageTestSupport
import Testing

@Suite struct BufferTests {
    @Test(arguments: [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 4096, 65537])
    func `every byte counts for being zero`(count: Int) {
        let pool = BufferPool()
        let memory = pool.take(count: count + 3)
        defer { pool.give(memory) }
        memory.fill(0xff)
        let buffer = memory[1..<(count + 1)]
        buffer.fill(0)
        #expect(buffer.isZero)
        for index in Set([0, count / 2, count - 2, count - 1]) where (0..<count).contains(index) {
            buffer.bytes[index] = 1
            #expect(!buffer.isZero)
            buffer.bytes[index] = 0
        }
        #expect(buffer.isZero)
    }

    @Test func `slices are parts of the same memory`() {
        let pool = BufferPool()
        let buffer = pool.take(count: 100)
        defer { pool.give(buffer) }
        for index in 0..<100 { buffer.bytes[index] = UInt8(index) }
        #expect(Array(buffer[10..<13].bytes) == [10, 11, 12])
        #expect(Array(buffer[10..<20][5...].bytes) == [15, 16, 17, 18, 19])
        #expect(buffer[100...].count == 0)
        buffer[0..<50].copy(from: buffer[50...])
        #expect(buffer[0..<50].hasSameBytes(as: buffer[50...]))
        buffer[1..<11].copy(from: buffer[0..<10])
        #expect(Array(buffer[0..<4].bytes) == [50, 50, 51, 52])
        #expect(IOBuffer(UnsafeRawBufferPointer(start: nil, count: 0)).isZero)
    }

    @Test(arguments: [0, 1, 4095, 4096, 4097, 8192, 1 << 20, 8 << 20, (8 << 20) + 1])
    func `buffers are aligned and come back`(count: Int) {
        let pool = BufferPool()
        let first = pool.take(count: count)
        #expect(first.count == count)
        #expect(Int(bitPattern: first.base) % BufferPool.alignment == 0)
        first.fill(1)
        #expect(pool.liveCount == 1)
        pool.give(first)
        #expect(pool.liveCount == 0)
        let second = pool.take(count: count)
        if count <= 8 << 20 { #expect(second.base == first.base) }
        #expect(pool.keptBytes == 0)
        pool.give(second)
    }

    @Test func `the pool keeps no more than its limit`() {
        let pool = BufferPool(keptLimit: 3 * 4096)
        let buffers = (0..<5).map { _ in pool.take(count: 4096) }
        for buffer in buffers { pool.give(buffer) }
        #expect(pool.keptBytes == 3 * 4096)
        #expect(pool.liveCount == 0)
    }

    @Test func `a loop that has nothing to do for a second frees the buffers that it kept`() async throws {
        let loop = try IOLoop(name: "rests")
        loop.start()
        defer {
            loop.stop()
            loop.join()
        }
        let kept = await Task(executorPreference: loop) {
            let buffers = (0..<4).map { _ in BufferPool.shared.take(count: 1 << 20) }
            for buffer in buffers { BufferPool.shared.give(buffer) }
            return IOLoop.current?.buffers.keptBytes
        }.value
        #expect(kept == 4 << 20)
        let left = try await Task(executorPreference: loop) {
            while let kept = IOLoop.current?.buffers.keptBytes, kept > 0 { try await IOLoop.sleep(for: .seconds(2)) }
            return IOLoop.current?.buffers.keptBytes
        }.value
        #expect(left == 0)
    }
}
