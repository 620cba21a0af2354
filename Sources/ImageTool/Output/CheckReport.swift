import BlockDrivers
import Glibc
import JSON

/// What `check` tells of an image.
struct CheckReport {
    /// The image's name.
    let filename: String
    /// Its format.
    let format: String
    /// What was found.
    let result: Qcow2CheckResult

    /// The report for people.
    var text: String {
        var text = ""
        if result.corruptions == 0, result.leaks == 0, result.checkErrors == 0 {
            text += "No errors were found on the image.\n"
        }
        if result.corruptions > 0 {
            text += """

                \(result.corruptions) errors were found on the image.
                Data may be corrupted, or further writes to the image may corrupt it.

                """
        }
        if result.leaks > 0 {
            text += """

                \(result.leaks) leaked clusters were found on the image.
                This means waste of disk space, but no harm to data.

                """
        }
        if result.checkErrors > 0 {
            text += "\n\(result.checkErrors) internal errors have occurred during the check.\n"
        }
        if result.totalClusters > 0, result.allocatedClusters > 0 {
            let (total, allocated) = (result.totalClusters, result.allocatedClusters)
            text += "\(allocated)/\(total) = \(percent(allocated, of: total)) allocated, "
            text += "\(percent(result.fragmentedClusters, of: allocated)) fragmented, "
            text += "\(percent(result.compressedClusters, of: allocated)) compressed clusters\n"
        }
        if result.imageEndOffset > 0 { text += "Image end offset: \(result.imageEndOffset)\n" }
        return text
    }

    /// The report for programs. Counters that are 0 are left out where QEMU has them optional.
    var members: JSONObject {
        var members: JSONObject = [
            "filename": .string(filename), "format": .string(format),
            "check-errors": .integer(Int64(result.checkErrors)),
        ]
        let counters: [(String, Int64)] = [
            ("image-end-offset", result.imageEndOffset), ("corruptions", Int64(result.corruptions)),
            ("leaks", Int64(result.leaks)), ("corruptions-fixed", Int64(result.corruptionsFixed)),
            ("leaks-fixed", Int64(result.leaksFixed)), ("total-clusters", result.totalClusters),
            ("allocated-clusters", result.allocatedClusters), ("fragmented-clusters", result.fragmentedClusters),
            ("compressed-clusters", result.compressedClusters),
        ]
        for (name, value) in counters where value != 0 { members[name] = .integer(value) }
        return members
    }

    /// A share with two digits behind the point.
    private func percent(_ part: Int64, of whole: Int64) -> String {
        let exact = Double(part) * 100 / Double(whole)
        return exact.formattedWithTwoDecimals + "%"
    }
}

extension Double {
    /// The number with two digits behind the point, as C's `%.2f` prints it.
    fileprivate var formattedWithTwoDecimals: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            _ = withVaList([self]) { vsnprintf(buffer.baseAddress, buffer.count, "%.2f", $0) }
            return buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
    }
}
