import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// What a file of rules means. All texts as given by qemu-storage-daemon 11.1.3.
@Suite struct BlkdebugRuleFileTests {
    static func refusal(_ text: String) -> String? {
        do throws(BlockError) {
            _ = try BlkdebugRuleFile(parsing: text)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `a file holds rules of both kinds`() throws {
        let file = try BlkdebugRuleFile(
            parsing: """
                # The second write fails.
                [set-state]
                event = "write_aio"
                state = "1"
                new_state = "2"

                [inject-error "name"]
                  event  =  "write_aio"  \n\
                state = "2"
                errno = "0x1c"
                once = "yes"
                immediately = "off"
                sector = "010"
                iotype = "write-zeroes"
                delay-ns = "5"
                [inject-error "name"]
                event = "flush_to_os"
                errno = "-1"
                """)
        var first = BlkdebugInjectError(event: .writeAIO)
        first.state = 2
        first.errno = 28
        first.once = true
        first.immediately = false
        first.sector = 8
        first.ioType = .writeZeroes
        first.delayNanoseconds = 5
        var second = BlkdebugInjectError(event: .flushToOS)
        second.errno = -1
        #expect(file.injections == [first, second])
        #expect(file.transitions == [BlkdebugSetState(event: .writeAIO, state: 1, newState: 2)])
        #expect(try BlkdebugRuleFile(parsing: "") == BlkdebugRuleFile(parsing: "#nothing\n\n"))
    }

    @Test(
        arguments: [
            ("[inject-error]\nevent = \"nope\"\n", "invalid parameter value: nope"),
            ("[inject-error]\n", "Missing event name for rule"),
            ("[nope]\nevent = \"read_aio\"\n", "There is no option group 'nope'"), ("garbage", "no group defined"),
            ("[inject-error]\nevent = read_aio\n", "invalid parameter value: "),
            ("[inject-error]\nevent = \"read_aio\"\nnope = \"1\"\n", "Invalid parameter 'nope'"),
            ("[inject-error]\nevent = \"read_aio\"\nerrno = \"x\"\n", "Parameter 'errno' expects a number"),
            ("[set-state]\nevent = \"read_aio\"\nstate=\"1\"\n", "Invalid parameter 'state=\"1\"'"),
            ("[set-state]\nevent = \"read_aio\"\n", nil),
            ("[inject-error]\nevent = \"read_aio\"\nonce = \"1\"\n", "Parameter 'once' expects 'on' or 'off'"),
            ("[inject-error]\nevent = \"read_aio\"\niotype = \"foo\"\n", "invalid parameter value: foo"),
            ("event = \"read_aio\"\n", "no group defined"),
            (
                "[inject-error]\nevent = \"read_aio\"\nimmediately=\"off\"\nsector=\"4\"\niotype=\"read\"\n",
                "Invalid parameter 'iotype=\"read\"'"
            ),
            ("[inject-error]\nevent = \"nope\"\nevent = \"write_aio\"\n", nil),
            ("[inject-error\nevent = \"read_aio\"\n", "There is no option group 'inject-error\n'"),
            ("[inject-error]\nevent = \"read_aio\n", "invalid parameter value: read_aio\n"),
            ("[set-state]\nevent = \"read_aio\"\nerrno = \"1\"\n", "Invalid parameter 'errno'"),
        ] as [(String, String?)])
    func `mistakes are told in QEMU's words`(text: String, refusal: String?) {
        #expect(Self.refusal(text) == refusal)
    }

    @Test func `no text makes the parser fail otherwise`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "[", "]", "inject-error", "set-state", "\"", "\n", " ", "=", " = ", "event", "read_aio", "errno", "0x", "-",
            "9",
            "#", "once", "on", "99999999999999999999", "\u{301}", "é",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0..<30, using: &random))
                .map { _ in pieces[Int.random(in: 0..<pieces.count, using: &random)] }.joined()
            if let refusal = Self.refusal(text) { #expect(!refusal.isEmpty, "seed \(seed)") }
        }
    }
}
