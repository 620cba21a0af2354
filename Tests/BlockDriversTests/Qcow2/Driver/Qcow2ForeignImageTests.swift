import BlockGraph
import BlockTestSupport
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockDrivers

/// Images that the reference program made and changed read as it reads them.
@Suite(.enabled(if: imageTool != nil && installedPrograms("qemu-io").last != nil)) struct Qcow2ForeignImageTests {
    @Test(arguments: Qcow2DriverModelTests.shapes)
    func `images written by the reference program read the same`(_ shape: Qcow2Shape) async throws {
        let seed = UInt64.random(in: 0..<10_000)
        let comment = "\(shape) seed \(seed)"
        try await withLoops(1) { loops in
            try await Task(executorPreference: loops[0]) {
                let files = try Qcow2DriverFiles(shape, seed: seed)
                try Self.change(files, seed: seed)
                try await Self.compare(files, comment)
            }.value
        }
    }

    @Test(arguments: ["compression_type=zlib", "compression_type=zstd", "extended_l2=on"], [16384, 65536, 2 << 20])
    func `compressed images read the same`(_ option: String, _ clusterSize: Int) async throws {
        let shape = Qcow2Shape(clusterSize: clusterSize, [option], size: 5 << 20)
        try await withLoops(1) { loops in
            try await Task(executorPreference: loops[0]) {
                let files = try Qcow2DriverFiles(shape, seed: 7)
                var model = DiskModel([UInt8](repeating: 0, count: shape.size), shape, seed: 7)
                for _ in 0..<200 {
                    let range = model.range()
                    model.set(range, model.data(Int(range.length)))
                }
                writeFile(files.directory.file("data.raw"), model.bytes)
                try Qcow2DriverFiles.tool([
                    "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", shape.options.joined(separator: ","),
                    files.directory.file("data.raw"), files.image,
                ])
                try await Self.compare(files, "\(shape)")
            }.value
        }
    }

    /// Random commands of the reference's I/O program.
    private static func change(_ files: Qcow2DriverFiles, seed: UInt64) throws {
        let program = try #require(installedPrograms("qemu-io").last)
        var model = DiskModel(files.initial, files.shape, seed: seed)
        var arguments = [program, "-f", "qcow2", "-d", "unmap"]
        for number in 0..<120 {
            let range = model.range()
            let place = "\(range.lowerBound) \(range.length)"
            let byte = Int.random(in: 0...255, using: &model.random)
            let size = Int64(files.shape.clusterSize)
            let command =
                switch number % 8 {
                case 0, 1, 2, 3: "write -P \(byte) \(place)"
                case 4: "write -z \(place)"
                case 5: "write -z -u \(place)"
                case 6: "discard \(place)"
                // Where subclusters are zero, it writes compressed clusters that it cannot read itself.
                case 7 where files.shape.hasSubclusters: "read \(place)"
                default: "write -c -P \(byte) \(range.lowerBound / size * size) \(size)"
                }
            arguments += ["-c", command]
        }
        // Compressed writes to what is allocated fail.
        _ = run(arguments + [files.image], output: files.directory.file("log"))
    }

    private static func compare(_ files: Qcow2DriverFiles, _ comment: String) async throws {
        let copy = files.directory.file("copy.raw")
        let output = try Qcow2DriverFiles.tool(
            ["convert", "-f", "qcow2", "-O", "raw", files.image, copy], allowing: [0, 1])
        // Now and then it cannot read a compressed cluster of its own.
        if output.contains("error while reading") { return print("qcow2 foreign: \(comment): \(output)") }
        try #require(output.isEmpty, "\(comment): \(output)")
        let model = DiskModel(Array(contents(copy).prefix(files.shape.size)), files.shape, seed: 0)
        let rig = try await Qcow2DriverRig.open(files, readOnly: true)
        let length = Int64(files.shape.size)
        let difference = await Result { try await rig.guest.difference(from: model, 0..<length) }
        let map = await Result { try await Self.map(rig, length: length, model) }
        await rig.close()
        #expect(try difference.get() == nil, "\(comment)")
        let wrong = try map.get()
        #expect(wrong == nil, "\(comment)")
    }

    /// Walks the block status, which must not call zero what is not; a run where it does.
    private static func map(_ rig: Qcow2DriverRig, length: Int64, _ model: DiskModel) async throws -> ByteRange? {
        var start: Int64 = 0
        while start < length {
            let (status, _) = try await rig.node.blockStatusAbove(base: nil, start..<length)
            try #require(status.length > 0)
            let run = start..<start + status.length
            if status.isZero, model.bytes[Int(run.lowerBound)..<Int(run.upperBound)].contains(where: { $0 != 0 }) {
                return run
            }
            start = run.upperBound
        }
        return nil
    }
}

extension Result where Failure == any Error {
    /// What the body returns or throws.
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
