import BlockDrivers
import BlockGraph
import Compression
import IOLoop

extension ImageCreation {
    /// Makes a qcow2 image, and its data file.
    func createQcow2(at name: String, in session: ImageSession) async throws(BlockError) {
        let qcow2 = try qcow2Options()
        let dataFile = options["data_file"]
        try checkKeptDataFile()
        if dataFile?.isEmpty == true { throw BlockError("Could not create ''", causedBy: .ENOENT) }
        try qcow2.check(hasDataFile: dataFile != nil)
        if options["encrypt.format"] == nil, options.names.contains(where: { $0.hasPrefix("encrypt.") }) {
            throw BlockError("Parameter 'encrypt.format' is missing")
        }
        try await withNewFile(at: name, in: session) { (file) async throws(BlockError) in
            guard let dataFile else { return try await Qcow2Creator.create(qcow2, file: file) }
            let isKept = options.flag("keep_data_file") == true
            try await withNewFile(at: dataFile, mustExist: isKept, in: session) { (data) async throws(BlockError) in
                try await Qcow2Creator.create(qcow2, file: file, dataFile: data)
            }
        }
    }

    /// The options as the format takes them. Errors: a value is not known.
    func qcow2Options() throws(BlockError) -> Qcow2CreationOptions {
        let (rounded, overflow) = size.addingReportingOverflow(511)
        var qcow2 = Qcow2CreationOptions(size: overflow ? size : rounded / 512 * 512)
        switch options["compat"] {
        case nil, "1.1", "v3": qcow2.version = 3
        case "0.10", "v2": qcow2.version = 2
        case let text?: throw Self.refused(text, for: "version")
        }
        if let text = options["preallocation"] {
            guard let mode = Preallocation(rawValue: text) else { throw Self.refused(text, for: "preallocation") }
            qcow2.preallocation = mode
        }
        switch options["compression_type"] {
        case nil, "zlib": qcow2.compressionType = .zlib
        case "zstd": qcow2.compressionType = .zstd
        case let text?: throw Self.refused(text, for: "compression-type")
        }
        qcow2.backingFile = options["backing_file"]
        qcow2.backingFormat = options["backing_fmt"]
        qcow2.clusterSize = Int64(clamping: options.size("cluster_size") ?? 65536)
        qcow2.refcountBits = options.number("refcount_bits") ?? 16
        qcow2.lazyRefcounts = options.flag("lazy_refcounts") ?? false
        qcow2.extendedL2 = options.flag("extended_l2") ?? false
        qcow2.dataFileRaw = options.flag("data_file_raw") ?? false
        qcow2.dataFileName = options["data_file"]
        qcow2.isEncrypted = options.flag("encryption") == true || options["encrypt.format"] != nil
        return qcow2
    }

    private static func refused(_ text: String, for name: String) -> BlockError {
        BlockError("Parameter '\(name)' does not accept value '\(text)'")
    }

    private func checkKeptDataFile() throws(BlockError) {
        guard options.flag("keep_data_file") == true else { return }
        guard options["data_file"] != nil else {
            throw BlockError("Must not use 'keep_data_file=on' without 'data_file'")
        }
        guard options["preallocation"] == "metadata" || options.flag("data_file_raw") == true else {
            throw BlockError(
                "'keep_data_file=on' requires 'preallocation=metadata' or 'data_file_raw=on', "
                    + "or the file contents will not be visible")
        }
    }
}
