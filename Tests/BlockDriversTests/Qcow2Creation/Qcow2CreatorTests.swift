import BlockDrivers
import BlockGraph
import BlockTestSupport
import Compression
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct Qcow2CreatorTests {
    private let directory = TemporaryDirectory()

    /// The options of one image, for us and for `qemu-img create -o`.
    struct Sample: Sendable, CustomTestStringConvertible {
        let text: String
        let hasDataFile: Bool
        let change: @Sendable (inout Qcow2CreationOptions) -> Void

        init(
            _ text: String, dataFile: Bool = false,
            _ change: @escaping @Sendable (inout Qcow2CreationOptions) -> Void = { _ in }
        ) {
            self.text = text
            hasDataFile = dataFile
            self.change = change
        }

        var testDescription: String { text }
    }

    static let samples: [Sample] = [
        Sample(""),
        Sample("compat=0.10") { $0.version = 2 },
        Sample("cluster_size=512") { $0.clusterSize = 512 },
        Sample("cluster_size=512,refcount_bits=64") { ($0.clusterSize, $0.refcountBits) = (512, 64) },
        Sample("cluster_size=4096,refcount_bits=1") { ($0.clusterSize, $0.refcountBits) = (4096, 1) },
        Sample("cluster_size=8192,refcount_bits=2") { ($0.clusterSize, $0.refcountBits) = (8192, 2) },
        Sample("cluster_size=2097152,refcount_bits=4") { ($0.clusterSize, $0.refcountBits) = (1 << 21, 4) },
        Sample("refcount_bits=8") { $0.refcountBits = 8 },
        Sample("refcount_bits=32,lazy_refcounts=on") { ($0.refcountBits, $0.lazyRefcounts) = (32, true) },
        Sample("extended_l2=on") { $0.extendedL2 = true },
        Sample("extended_l2=on,preallocation=metadata") { ($0.extendedL2, $0.preallocation) = (true, .metadata) },
        Sample("compression_type=zstd") { $0.compressionType = .zstd },
        Sample("preallocation=metadata") { $0.preallocation = .metadata },
        Sample("preallocation=metadata,compat=0.10") { ($0.preallocation, $0.version) = (.metadata, 2) },
        Sample("preallocation=metadata,cluster_size=512") { ($0.preallocation, $0.clusterSize) = (.metadata, 512) },
        Sample("preallocation=falloc,refcount_bits=1") { ($0.preallocation, $0.refcountBits) = (.falloc, 1) },
        Sample("preallocation=full") { $0.preallocation = .full },
        Sample("backing_file=base.img,backing_fmt=raw") { ($0.backingFile, $0.backingFormat) = ("base.img", "raw") },
        Sample("backing_file=base.img,backing_fmt=raw,cluster_size=512") {
            ($0.backingFile, $0.backingFormat, $0.clusterSize) = ("base.img", "raw", 512)
        },
        Sample("backing_file=base.img,backing_fmt=raw,extended_l2=on,preallocation=metadata") {
            ($0.backingFile, $0.backingFormat, $0.extendedL2, $0.preallocation) = ("base.img", "raw", true, .metadata)
        },
        Sample("data_file=DIR/data.img", dataFile: true),
        Sample("data_file=DIR/data.img,data_file_raw=on", dataFile: true) { $0.dataFileRaw = true },
        Sample("data_file=DIR/data.img,preallocation=metadata,extended_l2=on", dataFile: true) {
            ($0.preallocation, $0.extendedL2) = (.metadata, true)
        },
        Sample("data_file=DIR/data.img,preallocation=falloc", dataFile: true) { $0.preallocation = .falloc },
    ]

    private func write(_ bytes: [UInt8], to name: String) {
        guard let file = fopen(directory.file(name), "w") else { return }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    private func create(
        _ options: Qcow2CreationOptions, in name: String, dataFile: String? = nil
    ) async throws {
        let directory = directory
        try await GraphFixture.run { fixture in
            let file = try await fixture.graph.openFile(directory.file(name), isOwnedByMonitor: true)
            var dataNode: BlockNode?
            if let dataFile {
                dataNode = try await fixture.graph.openFile(directory.file(dataFile), isOwnedByMonitor: true)
            }
            try await Qcow2Creator.create(options, file: file, dataFile: dataNode)
        }
    }

    /// What a program says of an image, without its name and place.
    private func describe(_ program: String, _ name: String) -> String {
        let info = run([program, "info", directory.file(name)], output: directory.file("log"))
        return info.output.split(separator: "\n").filter { line in
            !["image:", "filename:", "disk size:", "file length:"].contains { line.contains($0) }
        }.joined(separator: "\n")
    }

    static let sizes: [Int64] = [0, 512, 1 << 20, 1_049_088, 40 << 20]

    @Test(arguments: samples, sizes)
    func `an image is as good as one of QEMU's`(sample: Sample, size: Int64) async throws {
        // QEMU itself refuses or takes minutes where metadata for small clusters is preallocated.
        let isSlow = sample.text.contains("cluster_size=512") && sample.text.contains("preallocation")
        guard !isSlow || size < 2 << 20 else { return }
        write([UInt8](repeating: 7, count: 100_000), to: "base.img")
        write([1, 2, 3], to: "new.qcow2")
        write([], to: "data.img")
        var options = Qcow2CreationOptions(size: size)
        sample.change(&options)
        if sample.hasDataFile { options.dataFileName = directory.file("data.img") }
        let text = sample.text.replacing("DIR", with: directory.path)
        try await create(options, in: "new.qcow2", dataFile: sample.hasDataFile ? "data.img" : nil)
        for program in installedPrograms("qemu-img") {
            let check = run([program, "check", directory.file("new.qcow2")], output: directory.file("log"))
            #expect(check.status == 0, "\(check.output)")
            let creation = run(
                [program, "create", "-f", "qcow2"] + (text.isEmpty ? [] : ["-o", text])
                    + [directory.file("theirs.qcow2"), "\(size)"], output: directory.file("log"))
            try #require(creation.status == 0, "\(creation.output)")
            #expect(describe(program, "new.qcow2") == describe(program, "theirs.qcow2"))
            let comparison = run(
                [program, "compare", directory.file("new.qcow2"), directory.file("theirs.qcow2")],
                output: directory.file("log"))
            #expect(comparison.status == 0, "\(comparison.output)")
            unlink(directory.file("theirs.qcow2"))
        }
    }

    @Test func `the header is that of QEMU byte for byte`() async throws {
        guard let program = installedPrograms("qemu-img").last else { return }
        for sample in Self.samples where !sample.hasDataFile {
            write([], to: "base.img")
            write([], to: "new.qcow2")
            var options = Qcow2CreationOptions(size: 40 << 20)
            sample.change(&options)
            guard options.preallocation == .off, options.clusterSize > 512 else { continue }
            try await create(options, in: "new.qcow2")
            _ = run(
                [program, "create", "-f", "qcow2"] + (sample.text.isEmpty ? [] : ["-o", sample.text])
                    + [directory.file("theirs.qcow2"), "40M"], output: directory.file("log"))
            let isSame = contents(directory.file("new.qcow2")) == contents(directory.file("theirs.qcow2"))
            #expect(isSame, "\(sample.text)")
            unlink(directory.file("theirs.qcow2"))
        }
    }

    @Test func `what was in the file does not show up in the image`() async throws {
        write([UInt8](repeating: 0x55, count: 1 << 20), to: "new.qcow2")
        var options = Qcow2CreationOptions(size: 1 << 20)
        options.preallocation = .metadata
        try await create(options, in: "new.qcow2")
        let isClean = !contents(directory.file("new.qcow2")).contains(0x55)
        #expect(isClean)
    }

    @Test func `preallocation takes the space`() async throws {
        for mode in [Preallocation.falloc, .full] {
            write([], to: "new.qcow2")
            var options = Qcow2CreationOptions(size: 4 << 20)
            options.preallocation = mode
            try await create(options, in: "new.qcow2")
            #expect(allocatedBytes(directory.file("new.qcow2")) >= 4 << 20)
        }
    }

    @Test func `a huge disk takes a table only`() async throws {
        write([], to: "new.qcow2")
        try await create(Qcow2CreationOptions(size: 1 << 50), in: "new.qcow2")
        #expect(contents(directory.file("new.qcow2")).count == 16_973_824)
        try await create(Qcow2CreationOptions(size: 0), in: "new.qcow2")
        #expect(contents(directory.file("new.qcow2")).count == 196_608)
    }

    /// Options that do not go together, and what QEMU says of them.
    static let refusals: [(text: String, change: @Sendable (inout Qcow2CreationOptions) -> Void)] = [
        ("Image size must be a multiple of 512 bytes", { $0.size = 1 }),
        ("Image size must be a multiple of 512 bytes", { $0.size = -1 }),
        ("Could not resize image: Image size cannot be negative", { $0.size = -512 }),
        (
            "Could not resize image: offset(9223372036854775296) exceeds maximum(9223372035781033984)",
            { $0.size = Int64.max - 511 }
        ),
        ("Could not resize image: Failed to grow the L1 table: File too large", { $0.size = 1 << 51 + 512 }),
        ("Could not resize image: Failed to grow the L1 table: File too large", { $0.size = 1 << 62 }),
        ("Cluster size must be a power of two between 512 and 2048k", { $0.clusterSize = 0 }),
        ("Cluster size must be a power of two between 512 and 2048k", { $0.clusterSize = 513 }),
        ("Cluster size must be a power of two between 512 and 2048k", { $0.clusterSize = 1 << 22 }),
        ("Cluster size must be a power of two between 512 and 2048k", { $0.clusterSize = -512 }),
        ("Refcount width must be a power of two and may not exceed 64 bits", { $0.refcountBits = 0 }),
        ("Refcount width must be a power of two and may not exceed 64 bits", { $0.refcountBits = 3 }),
        ("Refcount width must be a power of two and may not exceed 64 bits", { $0.refcountBits = 128 }),
        (
            "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
            { ($0.version, $0.refcountBits) = (2, 8) }
        ),
        (
            "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            { ($0.version, $0.lazyRefcounts) = (2, true) }
        ),
        (
            "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            { ($0.version, $0.extendedL2) = (2, true) }
        ),
        (
            "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            { ($0.version, $0.compressionType) = (2, .zstd) }
        ),
        (
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
            { ($0.clusterSize, $0.extendedL2) = (8192, true) }
        ),
        ("Backing format cannot be used without backing file", { $0.backingFormat = "raw" }),
        (
            "Backing file and preallocation can only be used at the same time if extended_l2 is on",
            { ($0.backingFile, $0.preallocation) = ("x", .metadata) }
        ),
        ("data-file-raw requires data-file", { $0.dataFileRaw = true }),
        (
            "Could not assign backing file '\(String(repeating: "x", count: 1024))' with format '(null)': Invalid argument",
            { $0.backingFile = String(repeating: "x", count: 1024) }
        ),
        (
            "Could not assign backing file '\(String(repeating: "x", count: 1023))' with format 'raw': "
                + "No space left on device",
            { ($0.backingFile, $0.backingFormat, $0.clusterSize) = (String(repeating: "x", count: 1023), "raw", 512) }
        ),
        ("Encrypted images are not supported", { $0.isEncrypted = true }),
    ]

    @Test func `options that do not go together are refused in QEMU's words, and the file stays as it is`()
        async throws
    {
        let refusals = Self.refusals
        let path = directory.file("kept")
        write([1, 2, 3], to: "kept")
        try await GraphFixture.run { fixture in
            let file = try await fixture.graph.openFile(path, isOwnedByMonitor: true)
            for (text, change) in refusals {
                var options = Qcow2CreationOptions(size: 1 << 20)
                change(&options)
                let error = await blockError { () async throws(BlockError) in
                    try await Qcow2Creator.create(options, file: file)
                }
                #expect(error == text)
            }
        }
        #expect(contents(path) == [1, 2, 3])
    }

    @Test func `a node that keeps nothing cannot hold an image`() async throws {
        try await GraphFixture.run { fixture in
            let node = try await fixture.open("n", NullDriver(NullConfiguration(size: 1 << 20)))
            let error = await blockError { () async throws(BlockError) in
                try await Qcow2Creator.create(Qcow2CreationOptions(size: 1 << 20), file: node)
            }
            #expect(error == "Image is not in qcow2 format")
        }
    }
}
