import NBDProtocol
import Testing

@Suite struct NBDReplyTests {
    let read = NBDRequest(type: 0, cookie: 7, offset: 4096, length: 512)
    let write = NBDRequest(type: 1, cookie: 7, offset: 4096, length: 512)
    let cookie = bytes(UInt64(7))

    func structured(_ flags: UInt16, _ type: UInt16, _ payload: [UInt8], extra: Int = 0) -> [UInt8] {
        bytes(NBD.structuredReplyMagic) + bytes(flags) + bytes(type) + cookie + bytes(UInt32(payload.count + extra))
            + payload
    }

    func extended(_ flags: UInt16, _ type: UInt16, _ payload: [UInt8], extra: Int = 0) -> [UInt8] {
        bytes(NBD.extendedReplyMagic) + bytes(flags) + bytes(type) + cookie + bytes(UInt64(4096))
            + bytes(UInt64(payload.count + extra)) + payload
    }

    func simple(_ error: UInt32) -> [UInt8] { bytes(NBD.simpleReplyMagic) + bytes(error) + cookie }

    func success(_ headers: NBDHeaderMode, _ request: NBDRequest) -> [UInt8] {
        encoded { NBDReplyEncoder(headers: headers).success(request, to: &$0) }
    }

    func failure(
        _ headers: NBDHeaderMode, _ request: NBDRequest, _ error: NBDError, _ text: String
    ) -> [UInt8] {
        encoded { NBDReplyEncoder(headers: headers).failure(request, error, text, to: &$0) }
    }

    func failure(
        _ headers: NBDHeaderMode, _ request: NBDRequest, _ error: NBDError, at offset: UInt64, flags: NBDReplyFlags
    ) -> [UInt8] {
        encoded { NBDReplyEncoder(headers: headers).failure(request, error, at: offset, flags: flags, to: &$0) }
    }

    func data(
        _ headers: NBDHeaderMode, _ request: NBDRequest, offset: UInt64, count: Int, flags: NBDReplyFlags
    ) -> [UInt8] {
        encoded { NBDReplyEncoder(headers: headers).data(request, offset: offset, count: count, flags: flags, to: &$0) }
    }

    func hole(
        _ headers: NBDHeaderMode, _ request: NBDRequest, offset: UInt64, count: UInt32, flags: NBDReplyFlags
    ) -> [UInt8] {
        encoded { NBDReplyEncoder(headers: headers).hole(request, offset: offset, count: count, flags: flags, to: &$0) }
    }

    @Test func `success is simple unless it must be a chunk`() {
        #expect(success(.simple, write) == simple(0))
        #expect(success(.structured, write) == simple(0))
        #expect(success(.structured, read) == structured(1, 0, []))
        #expect(success(.extended, write) == extended(1, 0, []))
    }

    @Test func `failures carry a text where they can`() {
        #expect(failure(.simple, write, .noSpace, "x") == simple(28))
        let payload = bytes(UInt32(22)) + bytes(UInt16(3)) + Array("abc".utf8)
        #expect(
            failure(.structured, read, .invalid, "abc")
                == structured(1, 0x8001, payload))
        #expect(
            failure(.extended, read, .invalid, "abc")
                == extended(1, 0x8001, payload))
        let offset = bytes(UInt32(5)) + bytes(UInt16(0)) + bytes(UInt64(4608))
        #expect(
            failure(.structured, read, .io, at: 4608, flags: .done)
                == structured(1, 0x8002, offset))
    }

    @Test func `long texts are cut at a character`() {
        let text = String(repeating: "é", count: 400)
        let reply = failure(.structured, read, .io, text)
        #expect(reply.count == NBD.structuredReplySize + 6 + 400)
        #expect(reply.count <= NBDReplyEncoder.maximumErrorSize)
        #expect(String(validating: reply.suffix(400), as: UTF8.self) != nil)
    }

    @Test func `data headers announce the data that follows`() {
        #expect(
            data(.simple, read, offset: 4096, count: 512, flags: .done)
                == simple(0))
        #expect(
            data(.structured, read, offset: 4096, count: 512, flags: .done)
                == structured(1, 1, bytes(UInt64(4096)), extra: 512))
        #expect(
            data(.extended, read, offset: 4096, count: 512, flags: [])
                == extended(0, 1, bytes(UInt64(4096)), extra: 512))
    }

    @Test func `holes and extents are laid out as specified`() {
        let payload = bytes(UInt64(4096)) + bytes(UInt32(512))
        #expect(
            hole(.structured, read, offset: 4096, count: 512, flags: .done)
                == structured(1, 2, payload))
        let extents = [NBDExtent(length: 512, status: 3), NBDExtent(length: 1024, status: 0)]
        let compact = bytes(UInt32(2)) + bytes(UInt32(512)) + bytes(UInt32(3)) + bytes(UInt32(1024)) + bytes(UInt32(0))
        let short = NBDReplyEncoder(headers: .structured)
        let first = encoded { short.blockStatus(read, .dirtyBitmap(0), extents, flags: .done, to: &$0) }
        #expect(first == structured(1, 5, compact))
        #expect(short.size(of: extents) == first.count)
        let wide =
            bytes(UInt32(0)) + bytes(UInt32(2)) + bytes(UInt64(512)) + bytes(UInt64(3)) + bytes(UInt64(1024))
            + bytes(UInt64(0))
        let long = NBDReplyEncoder(headers: .extended)
        let second = encoded { long.blockStatus(read, .allocation, extents, flags: [], to: &$0) }
        #expect(second == extended(0, 6, wide))
        #expect(long.size(of: extents) == second.count)
    }

    @Test func `errno values map as the specification asks`() {
        let expected: [Int32: NBDError] = [
            1: .permission, 30: .permission, 5: .io, 12: .noMemory, 22: .invalid, 28: .noSpace, 27: .noSpace,
            122: .noSpace, 75: .overflow, 95: .notSupported, 108: .shutdown, 13: .invalid, 9: .invalid, 0: .invalid,
        ]
        for (errno, error) in expected { #expect(NBDError(errno: errno) == error) }
    }

    @Test func `extents join, stop at the request, and stop at the limit`() {
        var list = NBDExtentList()
        func appending(_ pairs: [(UInt64, UInt32)]) -> [Bool] {
            pairs.map { list.append(length: $0.0, status: $0.1) }
        }
        list.start(NBDRequest(type: 7, cookie: 0, offset: 0, length: 100))
        let whole = appending([(10, 0), (0, 1), (10, 0), (UInt64.max, 1)])
        #expect(whole == [true, true, true, false])
        #expect(list.extents == [NBDExtent(length: 20, status: 0), NBDExtent(length: 80, status: 1)])
        #expect(list.isComplete)

        list.start(NBDRequest(flags: .requestOne, type: 7, cookie: 0, offset: 0, length: 100))
        let one = appending([(10, 0), (10, 1)])
        #expect(one == [true, false])
        #expect(list.extents == [NBDExtent(length: 10, status: 0)])

        list.start(NBDRequest(type: 7, cookie: 0, offset: 0, length: 1 << 30))
        var index: UInt32 = 0
        while list.append(length: 1, status: index & 1) { index += 1 }
        #expect(list.extents.count == NBD.maximumExtents)
        #expect(!list.isComplete)
    }
}
