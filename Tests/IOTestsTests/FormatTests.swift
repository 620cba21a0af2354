import JSON
import Testing

@testable import IOTests

/// What scenarios log, and how logs are compared.
@Suite struct FormatTests {
    @Test func `values are written as Python writes them`() throws {
        let value: JSON = ["b": [1, true, nil], "a": ["x": "é\n", "e": [:]], "l": []]
        #expect(value.goldenText() == #"{"a": {"e": {}, "x": "\u00e9\n"}, "b": [1, true, null], "l": []}"#)
        #expect(
            JSON.object(["a": ["b": [1, 2], "c": []]]).goldenText(isIndented: true) == """
                {
                  "a": {
                    "b": [
                      1,
                      2
                    ],
                    "c": []
                  }
                }
                """)
    }

    @Test func `the directory, the process and times are replaced`() {
        let filter = OutputFilter(directory: "/tmp/x", processNumber: "123")
        #expect(filter.filtered("open /tmp/x/123-img and /tmp/x/other") == "open TEST_DIR/PID-img and TEST_DIR/other")
        let event: JSONObject = ["event": "E", "timestamp": ["seconds": 1, "microseconds": 2]]
        #expect(
            JSON.object(OutputFilter.withoutTime(event)).goldenText()
                == #"{"event": "E", "timestamp": {"microseconds": "USECS", "seconds": "SECS"}}"#)
        #expect(OutputFilter.withDashes(["new_state": [["a_b": 1]]]) == ["new-state": [["a-b": 1]]])
    }

    @Test func `differences are shown with lines around them`() {
        #expect(TextDifference.unified(expected: "a\nb", actual: "a\nb").isEmpty)
        let old = (1...9).map(String.init).joined(separator: "\n")
        let new = old.replacing("5", with: "five")
        #expect(
            TextDifference.unified(expected: old, actual: new)
                == "@@ -2 +2 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8")
        #expect(TextDifference.unified(expected: "", actual: "a") == "@@ -1 +1 @@\n-\n+a")
    }

    @Test func `commands are read in JSON and as qmp-shell writes them`() throws {
        let shell = try TranscriptScenario.command(
            "blockdev-add driver=raw node-name=n size=65536 file.driver=file file.x=[1,2] read-only=true")
        #expect(shell.name == "blockdev-add")
        #expect(
            JSON.object(shell.arguments)
                == [
                    "driver": "raw", "node-name": "n", "size": 65536, "file": ["driver": "file", "x": [1, 2]],
                    "read-only": true,
                ])
        let json = try TranscriptScenario.command(#"{"execute": "quit", "arguments": {"a": 1}}"#)
        #expect(json.name == "quit" && json.arguments == ["a": 1])
        #expect(throws: ScenarioFailure.self) { try TranscriptScenario.command("quit now") }
        #expect(throws: ScenarioFailure.self) { try TranscriptScenario.command("{") }
    }

    @Test func `programs say what is to be known of them`() {
        let text =
            "#!/bin/sh\n# group: a b\n# group: c\n# summary: what it does\n# unsupported: cairn not yet\n# unsupported: x y\n"
        let scenario = ExecutableScenario(name: "n", path: "/n", text: text)
        #expect(scenario.groups == ["a", "b", "c"])
        #expect(scenario.summary == "what it does")
        #expect(scenario.unsupported == [.cairn: "not yet"])
    }

    @Test func `results have a form for programs`() {
        let results = [
            ScenarioResult(name: "a", summary: "", outcome: .passed, duration: .milliseconds(1230)),
            ScenarioResult(name: "b", summary: "", outcome: .failed("-x\n+<y>"), duration: .zero),
            ScenarioResult(name: "c", summary: "", outcome: .notRun("why"), duration: .zero),
        ]
        #expect(
            ResultReport.tap(results)
                == "TAP version 13\n1..3\nok 1 - a\nnot ok 2 - b\n# -x\n# +<y>\nok 3 - c # SKIP why\n")
        let xml = ResultReport.junit(results)
        #expect(xml.contains(#"tests="3" failures="1" skipped="1""#))
        #expect(xml.contains(#"<testcase name="a" time="1.23"/>"#))
        #expect(xml.contains("+&lt;y&gt;"))
    }
}
