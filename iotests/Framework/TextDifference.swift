/// The differences of two texts, line by line.
enum TextDifference {
    private enum Change {
        case same(String)
        case missing(String)
        case extra(String)
    }

    /// The differences in the form of `diff -u`: "-" before lines that only `expected` has, "+" before those that only
    /// `actual` has, three lines around them. Empty where the texts are equal.
    static func unified(expected: String, actual: String) -> String {
        guard expected != actual else { return "" }
        let changes = changes(
            from: expected.split(separator: "\n", omittingEmptySubsequences: false).map(String.init),
            to: actual.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
        var shown = [Bool](repeating: false, count: changes.count)
        for (index, change) in changes.enumerated() {
            if case .same = change { continue }
            for near in max(0, index - 3)...min(changes.count - 1, index + 3) { shown[near] = true }
        }
        var lines: [String] = []
        var (oldLine, newLine) = (1, 1)
        for (index, change) in changes.enumerated() {
            if shown[index], index == 0 || !shown[index - 1] { lines.append("@@ -\(oldLine) +\(newLine) @@") }
            switch change {
            case .same(let line):
                if shown[index] { lines.append(" " + line) }
                oldLine += 1
                newLine += 1
            case .missing(let line):
                lines.append("-" + line)
                oldLine += 1
            case .extra(let line):
                lines.append("+" + line)
                newLine += 1
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func changes(from old: [String], to new: [String]) -> [Change] {
        let difference = new.difference(from: old)
        var removed: Set<Int> = []
        var inserted: Set<Int> = []
        for change in difference {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): inserted.insert(offset)
            }
        }
        var result: [Change] = []
        var (oldIndex, newIndex) = (0, 0)
        while oldIndex < old.count || newIndex < new.count {
            if removed.contains(oldIndex) {
                result.append(.missing(old[oldIndex]))
                oldIndex += 1
            } else if inserted.contains(newIndex) {
                result.append(.extra(new[newIndex]))
                newIndex += 1
            } else {
                result.append(.same(old[oldIndex]))
                oldIndex += 1
                newIndex += 1
            }
        }
        return result
    }
}
