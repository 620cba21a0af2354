import BlockGraph
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Which requests fail. All cases but the last observed with qemu-io 11.1.3.
@Suite struct BlkdebugEngineTests {
    static func rule(_ event: DebugEvent, _ change: (inout BlkdebugInjectError) -> Void = { _ in })
        -> BlkdebugInjectError
    {
        var rule = BlkdebugInjectError(event: event)
        change(&rule)
        return rule
    }

    static func engine(
        _ injections: [BlkdebugInjectError], _ transitions: [BlkdebugSetState] = []
    ) -> BlkdebugEngine {
        BlkdebugEngine(injections: injections, transitions: transitions)
    }

    @Test func `a rule for no event is armed from the start, for all but block status`() {
        var engine = Self.engine([Self.rule(.none)])
        for type in BlkdebugIOType.allCases {
            #expect(engine.inject(type, 0..<512)?.errno == (type == .blockStatus ? nil : 5))
        }
        #expect(engine.inject(.flush, 0..<0)?.errno == 5)
    }

    @Test func `a rule can be for one kind of request`() {
        for kind in BlkdebugIOType.allCases {
            var engine = Self.engine([Self.rule(.none) { $0.ioType = kind }])
            for type in BlkdebugIOType.allCases {
                #expect((engine.inject(type, 0..<512) != nil) == (type == kind))
            }
        }
    }

    @Test func `a rule stays armed until another one takes its place`() {
        var engine = Self.engine([
            Self.rule(.pwritev) {
                $0.ioType = .read; $0.errno = 28
            },
            Self.rule(.pwritevDone) {
                $0.ioType = .read; $0.errno = 5
            },
            Self.rule(.flushToOS) { $0.state = 7 },
        ])
        #expect(engine.inject(.read, 0..<512) == nil)
        engine.process(.pwritev)
        #expect(engine.inject(.write, 0..<512) == nil)
        #expect(engine.inject(.read, 0..<512)?.errno == 28)
        engine.process(.pwritevDone)
        #expect(engine.inject(.read, 0..<512)?.errno == 5)
        engine.process(.flushToOS)
        engine.process(.readAIO)
        #expect(engine.inject(.read, 0..<512)?.errno == 5)
    }

    @Test func `of two armed rules the first one counts, and once means once`() {
        var engine = Self.engine([
            Self.rule(.none) {
                $0.errno = 28; $0.once = true
            },
            Self.rule(.none) {
                $0.errno = 5; $0.once = true
            },
        ])
        #expect(engine.inject(.read, 0..<512)?.errno == 28)
        #expect(!engine.isIdle)
        #expect(engine.inject(.read, 0..<512)?.errno == 5)
        #expect(engine.inject(.read, 0..<512) == nil)
        #expect(engine.isIdle)
        engine.process(.none)
        #expect(engine.isIdle)
    }

    @Test func `a sector must be touched`() {
        var engine = Self.engine([Self.rule(.none) { $0.sector = 2 }])
        for (range, fails) in [
            (0..<512, false), (0..<1024, false), (512..<1536, true), (1024..<1025, true), (1535..<1536, true),
            (1536..<2048, false), (0..<4096, true), (1024..<1024, false),
        ] as [(ByteRange, Bool)] {
            #expect((engine.inject(.read, range) != nil) == fails, "\(range)")
        }
        var negative = Self.engine([Self.rule(.none) { $0.sector = -5 }])
        #expect(negative.inject(.read, 0..<4096) == nil)
    }

    @Test func `all rules for an event look at the state before it`() {
        var engine = Self.engine(
            [Self.rule(.pwritev) { $0.state = 2 }],
            [
                BlkdebugSetState(event: .pwritev, state: 1, newState: 2),
                BlkdebugSetState(event: .pwritev, state: 2, newState: 3),
            ])
        engine.process(.pwritev)
        #expect(engine.state == 2 && engine.inject(.write, 0..<512) == nil)
        engine.process(.pwritev)
        #expect(engine.state == 3 && engine.inject(.write, 0..<512) != nil)
        engine.process(.pwritev)
        // The rule does not hold in state 3, but nothing has taken its place.
        #expect(engine.inject(.write, 0..<512) != nil)
        let initial = Self.engine([], [BlkdebugSetState(event: .none, newState: 2)])
        #expect(initial.state == 2)
    }

    @Test func `an errno of 0 or less only delays`() {
        var engine = Self.engine([
            Self.rule(.none) {
                $0.errno = 0; $0.delayNanoseconds = 7
            }
        ])
        #expect(engine.inject(.read, 0..<1) == BlkdebugEngine.Injection(errno: 0, delayNanoseconds: 7))
        var negative = Self.engine([
            Self.rule(.none) {
                $0.errno = -5; $0.delayNanoseconds = -7
            }
        ])
        #expect(negative.inject(.read, 0..<1) == BlkdebugEngine.Injection(errno: -5, delayNanoseconds: 0))
    }
}
