import BlockDrivers
import BlockGraph
import Glibc
import IOLoop
import StorageTestSupport
import Testing

@Suite struct FileCreatorTests {
    @Test(arguments: FileSystemDirectory.Place.allCases)
    func `a file gets its length and its space`(place: FileSystemDirectory.Place) async throws {
        let directory = FileSystemDirectory(place)
        let path = directory.makeFile("x", [1, 2, 3], length: 5000)
        try await GraphFixture.run { _ in
            for (mode, space) in [(Preallocation.off, 0), (.falloc, 1 << 20), (.full, 1 << 20)] {
                var options = FileCreationOptions(filename: path, size: 1 << 20)
                options.preallocation = mode
                options.isNoCopyOnWrite = true
                try await FileCreator.create(options)
                let isZero = contents(path) == [UInt8](repeating: 0, count: 1 << 20)
                #expect(isZero)
                #expect(allocatedBytes(path) >= space)
            }
            try await FileCreator.create(FileCreationOptions(filename: path, size: 1000))
            #expect(contents(path).count == 1000)
            try await FileCreator.create(FileCreationOptions(filename: path, size: 0))
            #expect(contents(path).isEmpty)
        }
    }

    @Test func `what cannot be made is refused in QEMU's words`() async throws {
        let directory = TemporaryDirectory()
        let refusals: [(String, @Sendable (inout FileCreationOptions) -> Void)] = [
            ("Extent size hint is too large", { $0.extentSizeHint = -1 }),
            ("Extent size hint is too large", { $0.extentSizeHint = 1 << 40 }),
            ("Unsupported preallocation mode: metadata", { $0.preallocation = .metadata }),
            ("Could not resize file: Invalid argument", { $0.size = -1 }),
            ("Could not resize file: File too large", { $0.size = 1 << 62 }),
            ("Could not create '/nonexistent/x': No such file or directory", { $0.filename = "/nonexistent/x" }),
            ("Could not create '': No such file or directory", { $0.filename = "" }),
            ("Could not create '/tmp': Is a directory", { $0.filename = "/tmp" }),
        ]
        try await GraphFixture.run { _ in
            for (text, change) in refusals {
                var options = FileCreationOptions(filename: directory.file("x"), size: 1 << 20)
                change(&options)
                let error = await blockError { () async throws(BlockError) in try await FileCreator.create(options) }
                #expect(error == text)
            }
        }
    }

    @Test func `a file in use stays as it is`() async throws {
        let directory = FileSystemDirectory(.disk)
        let path = directory.makeFile("x", [1, 2, 3])
        try await GraphFixture.run { fixture in
            let node = try await fixture.graph.openFile(path, isOwnedByMonitor: true)
            _ = try fixture.graph.attach(
                "test", to: node, permissions: PermissionPair(shared: [.consistentRead, .write]))
            let error = await blockError { () async throws(BlockError) in
                try await FileCreator.create(FileCreationOptions(filename: path, size: 0))
            }
            #expect(error == "Failed to get \"resize\" lock")
        }
        #expect(contents(path) == [1, 2, 3])
    }
}
