import BlockDrivers
import BlockGraph
import BlockTestSupport
import IOLoop
import QMPSchema
import StorageTestSupport
import Testing

@testable import BlockNodes

/// Backing images and data files that headers name.
@Suite struct Qcow2ChainTests {
    @Test func `a chain opens as its headers say`() async throws {
        try await NodeFixture.run { fixture in
            _ = try fixture.makeFile("base.img", Array("base".utf8), length: 1 << 20)
            _ = try await fixture.makeImage("middle.q", backing: "base.img", format: nil)
            let top = try await fixture.makeImage("top.q", backing: "middle.q")
            let node = try await fixture.factory.openImage(named: top, options: NodeOptions())
            let names = fixture.graph.chain(below: node).map { NodeDescription($0).filename }
            #expect(names == ["top.q", "middle.q", "base.img"].map(fixture.directory.file))
            #expect(fixture.graph.chain(below: node).map(\.isReadOnly) == [false, true, true])
            #expect(fixture.graph.chain(below: node).map(\.driver.driverName) == ["qcow2", "qcow2", "raw"])
            let info = await NodeDescription(node).imageInfo(flat: false)
            #expect(info.backingFilename == "middle.q")
            #expect(info.backingFilenameFormat == "qcow2")
            #expect(info.fullBackingFilename == fixture.directory.file("middle.q"))
            #expect(info.backingImage?.backingFilenameFormat == nil)
            #expect(info.backingImage?.backingImage?.format == "raw")
            #expect(try await node.bytes(0..<4) == Array("base".utf8))
        }
    }

    @Test func `backing images may be left closed`() async throws {
        try await NodeFixture.run { fixture in
            let path = try await fixture.makeImage("o.q", backing: "nowhere", format: "raw")
            var factory = fixture.factory
            factory.opensBackingImages = false
            let node = try await factory.openImage(named: path, options: fixture.readOnly)
            #expect(fixture.graph.chain(below: node).count == 1)
            #expect(NodeDescription(node).filename == path)
        }
    }

    @Test func `an image that is below itself is refused`() async throws {
        try await NodeFixture.run { fixture in
            let own = try await fixture.makeImage("own.q", backing: "own.q")
            let text = "creates an infinite loop."
            #expect(await fixture.error(named: own).hasSuffix(text))
            _ = try await fixture.makeImage("a.q", backing: "b.q")
            let b = try await fixture.makeImage("b.q", backing: fixture.directory.path + "/./a.q")
            #expect(await fixture.error(named: b).hasSuffix(text))
            let name = #"json:{"driver":"qcow2","file":{"driver":"file","filename":"PATH"}}"#
                .replacing("PATH", with: fixture.directory.file("json.q"))
            let json = try await fixture.makeImage("json.q", backing: name)
            #expect(await fixture.error(named: json).hasSuffix(text))
            #expect(fixture.graph.nodes.isEmpty)
        }
    }

    @Test func `an error in the depth of a chain leaves nothing open`() async throws {
        try await NodeFixture.run { fixture in
            _ = try await fixture.makeImage("middle.q", backing: "nowhere", format: "raw")
            let top = try await fixture.makeImage("top.q", backing: "middle.q")
            let prefix = "Could not open backing file: "
            let missing = fixture.directory.file("nowhere")
            #expect(
                await fixture.error(named: top)
                    == "\(prefix)\(prefix)Could not open '\(missing)': No such file or directory")
            #expect(fixture.graph.nodes.isEmpty)
            #expect(fixture.openFileCount == 0)
        }
    }

    @Test func `a data file is found by its name`() async throws {
        try await NodeFixture.run { fixture in
            let path = try await fixture.makeImage("d.q", dataFile: "d.raw")
            let node = try await fixture.factory.openImage(named: path, options: NodeOptions())
            let data = try #require(node.child(named: "data-file")?.node)
            #expect(NodeDescription(data).filename == fixture.directory.file("d.raw"))
            #expect(!data.isReadOnly)
            let info = await NodeDescription(node).imageInfo(flat: false)
            guard case .qcow2(let specific)? = info.formatSpecific?.type else { throw BlockError("no qcow2") }
            #expect(specific.data.dataFile == fixture.directory.file("d.raw"))
            #expect(specific.data.dataFileRaw == false)
        }
    }

    @Test func `the name of the backing file changes in the header, read-only or not`() async throws {
        try await NodeFixture.run { fixture in
            _ = try fixture.makeFile("base.img", length: 1 << 20)
            _ = try fixture.makeFile("other.img", length: 1 << 20)
            let path = try await fixture.makeImage("o.q", backing: "base.img", format: "raw")
            for (options, name) in [(NodeOptions(), "other.img"), (fixture.readOnly, "base.img")] {
                let node = try await fixture.factory.openImage(named: path, options: options)
                try await fixture.factory.changeBackingFile(of: node, to: name)
                #expect(node.isReadOnly == options.isReadOnly)
                await fixture.graph.closeAll()
                let again = try await fixture.factory.openImage(named: path, options: fixture.readOnly)
                let backing = try #require(again.driver.backingChild?.node)
                #expect(NodeDescription(backing).filename == fixture.directory.file(name))
                #expect(backing.driver.driverName == "raw")
                await fixture.graph.closeAll()
            }
        }
    }

    @Test func `another file under a node is another image`() async throws {
        try await NodeFixture.run { fixture in
            _ = try fixture.makeFile("one.img", Array("one!".utf8), length: 1 << 20)
            _ = try fixture.makeFile("two.img", Array("two!".utf8), length: 1 << 20)
            for name in ["one", "two"] {
                _ = try await fixture.makeImage("\(name).q", backing: "\(name).img", format: "raw")
            }
            for name in ["one", "two"] {
                let options = BlockdevOptionsFile(filename: fixture.directory.file("\(name).q"))
                _ = try await fixture.factory.open(
                    BlockdevOptions(driver: .file(options), nodeName: name), isRoot: true)
                let raw = BlockdevOptionsRaw(
                    file: .definition(
                        BlockdevOptions(
                            driver: .file(BlockdevOptionsFile(filename: fixture.directory.file("\(name).img"))))))
                _ = try await fixture.factory.open(
                    BlockdevOptions(driver: .raw(raw), nodeName: "\(name)-base", readOnly: true), isRoot: true)
            }
            func options(_ name: String) -> BlockdevOptions {
                BlockdevOptions(
                    driver: .qcow2(
                        BlockdevOptionsQcow2(file: .reference(name), backing: .reference("\(name)-base"))),
                    nodeName: "disk")
            }
            let node = try await fixture.factory.open(options("one"), isRoot: true)
            #expect(try await node.bytes(0..<4) == Array("one!".utf8))
            try await withBytes(Array("ONE?".utf8)) { (buffer) throws(Errno) in
                try await node.write(0..<4, from: buffer)
            }
            try await fixture.factory.reopen([options("two")])
            #expect(try await node.bytes(0..<4) == Array("two!".utf8))
            try await withBytes(Array("TWO?".utf8)) { (buffer) throws(Errno) in
                try await node.write(0..<4, from: buffer)
            }
            try await fixture.factory.reopen([options("one")])
            #expect(try await node.bytes(0..<5) == Array("ONE?".utf8) + [0])
        }
    }
}
