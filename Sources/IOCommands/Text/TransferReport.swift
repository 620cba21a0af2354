/// What a transfer did, and the lines that tell of it.
struct TransferReport {
    /// The verb: "read", "wrote", "discard", "discarded ".
    let verb: String
    /// Where it began, in bytes.
    let offset: Int64
    /// How many bytes were asked for.
    let count: Int64
    /// The nanoseconds that it took, at least 1.
    let nanoseconds: Int

    /// The lines: one of figures separated by commas, or two for people. Each ends in a newline.
    func text(machineReadable: Bool) -> String {
        let seconds = Double(max(1, nanoseconds)) / 1e9
        let rate = Double(count) / seconds
        let operations = 1 / seconds
        if machineReadable {
            return "\(count),1,\(clock(full: true)),\(formatted("%.3f", rate)),\(formatted("%.3f", operations))\n"
        }
        return """
            \(verb) \(count)/\(count) bytes at offset \(offset)
            \(ByteCount.text(Double(count))), 1 ops; \(clock(full: false)) \
            (\(ByteCount.text(rate))/sec and \(formatted("%.4f", operations)) ops/sec)

            """
    }

    /// The time taken: "00.01 sec", from a minute on "0:01:02.03"; always the latter when `full`.
    private func clock(full: Bool) -> String {
        let seconds = nanoseconds / 1_000_000_000
        let hundredths = nanoseconds % 1_000_000_000 / 10_000_000
        guard full || seconds >= 60 else { return formatted("%02d.%02d sec", seconds, hundredths) }
        return formatted("%d:%02d:%02d.%02d", seconds / 3600, seconds / 60 % 60, seconds % 60, hundredths)
    }
}
