/// Results in the forms that other programs read.
public enum ResultReport {
    /// A line for people.
    public static func line(_ result: ScenarioResult) -> String {
        switch result.outcome {
        case .passed: "passed   \(result.name) (\(result.seconds) s)"
        case .failed(let reason): "FAILED   \(result.name) (\(result.seconds) s)\n\(reason)"
        case .notRun(let reason): "not run  \(result.name): \(reason)"
        case .updated: "UPDATED  \(result.name): look at the golden file"
        }
    }

    /// The results as the Test Anything Protocol, version 13, has them.
    public static func tap(_ results: [ScenarioResult]) -> String {
        var lines = ["TAP version 13", "1..\(results.count)"]
        for (index, result) in results.enumerated() {
            let title = "\(index + 1) - \(result.name)"
            switch result.outcome {
            case .passed: lines.append("ok \(title)")
            case .notRun(let reason): lines.append("ok \(title) # SKIP \(reason)")
            case .updated: lines.append("not ok \(title)\n# the golden file was written")
            case .failed(let reason):
                lines.append("not ok \(title)")
                lines += reason.split(separator: "\n", omittingEmptySubsequences: false).map { "# \($0)" }
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The results as JUnit's XML.
    public static func junit(_ results: [ScenarioResult]) -> String {
        let failures = results.count { !$0.isGood }
        let skipped = results.count { if case .notRun = $0.outcome { true } else { false } }
        var lines = [
            #"<?xml version="1.0" encoding="UTF-8"?>"#,
            #"<testsuite name="cairn-iotests" tests="\#(results.count)" failures="\#(failures)" skipped="\#(skipped)">"#,
        ]
        for result in results {
            let head = #"  <testcase name="\#(escaped(result.name))" time="\#(result.seconds)""#
            switch result.outcome {
            case .passed: lines.append(head + "/>")
            case .notRun(let reason): lines.append("\(head)><skipped message=\"\(escaped(reason))\"/></testcase>")
            case .updated: lines.append("\(head)><failure message=\"the golden file was written\"/></testcase>")
            case .failed(let reason):
                lines.append("\(head)><failure message=\"output differs\">\(escaped(reason))</failure></testcase>")
            }
        }
        lines.append("</testsuite>")
        return lines.joined(separator: "\n") + "\n"
    }

    /// Writes the results as JUnit's XML to a file. Errors: it cannot be written.
    public static func writeJUnit(_ results: [ScenarioResult], to path: String) throws(ScenarioFailure) {
        try FileText.write(junit(results), to: path)
    }

    /// The text with what means something in XML, or may not be there, replaced.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            case "\n", "\t": result.unicodeScalars.append(scalar)
            case _ where scalar.value < 0x20: result += "?"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
