import BlockDrivers
import BlockGraph
import IOLoop

/// How large the file of a new image becomes, in bytes.
struct ImageMeasure: Hashable, Sendable {
    /// With what the source has allocated now.
    var required: Int64
    /// When everything has been written.
    var fullyAllocated: Int64
    /// What the source's bitmaps add; nil where there are none to copy.
    var bitmaps: Int64?
}

extension ImageCreation {
    /// How large the file becomes with what a node holds, or, without a node, when nothing is written.
    ///
    /// Errors: options do not go together; the node's status cannot be had.
    func measure(convertingFrom node: BlockNode?, in session: ImageSession) async throws(BlockError) -> ImageMeasure {
        switch format {
        case "qcow2":
            try checkForMeasuring()
            let qcow2 = try qcow2Options()
            let measure =
                if let node {
                    try await Qcow2Measure.measure(qcow2, convertingFrom: node)
                } else {
                    try Qcow2Measure(qcow2)
                }
            return ImageMeasure(
                required: measure.required, fullyAllocated: measure.fullyAllocated, bitmaps: measure.bitmaps)
        default:
            let length = (node?.length ?? size).alignedUp(to: 512)
            return ImageMeasure(required: length, fullyAllocated: length)
        }
    }

    /// Errors: values that the measurement refuses in words of its own.
    private func checkForMeasuring() throws(BlockError) {
        if let text = options["preallocation"], Preallocation(rawValue: text) == nil {
            throw BlockError("invalid parameter value: \(text)")
        }
        if let text = options["compat"], !["0.10", "1.1", "v2", "v3"].contains(text) {
            throw BlockError("Invalid compatibility level: '\(text)'")
        }
    }
}
