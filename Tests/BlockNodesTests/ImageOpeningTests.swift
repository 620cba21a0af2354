import BlockDrivers
import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

@testable import BlockNodes

/// Images opened by name and by options, as tools and image headers have them.
@Suite struct ImageOpeningTests {
    @Test func `a path without format is probed`() async throws {
        try await NodeFixture.run { fixture in
            let path = try fixture.makeFile("a.img", Array("anything".utf8))
            let node = try await fixture.factory.openImage(named: path, options: fixture.readOnly)
            #expect(node.driver.driverName == "raw")
            #expect(node.isReadOnly && node.child(named: "file")?.node.isReadOnly == true)
            #expect(NodeDescription(node).filename == path)
            #expect(fixture.graph.nodes.count == 2)
        }
    }

    @Test func `images of formats that are not known do not pass for raw ones`() async throws {
        try await NodeFixture.run { fixture in
            let path = try fixture.makeFile("a.vmdk", Array("KDMV".utf8))
            #expect(await fixture.error(named: path) == "Unknown driver 'vmdk'")
            #expect(fixture.graph.nodes.isEmpty)
            #expect(await fixture.error(named: path, format: "raw") == "")
        }
    }

    @Test(arguments: [
        #"json:{"driver":"raw","file":{"driver":"file","filename":"PATH"}}"#,
        #"json:{"driver":"raw","file.filename":"PATH","offset":"512"}"#, #"json:{"file.filename":"PATH"}"#,
        "file:PATH",
    ])
    func `names hold options`(name: String) async throws {
        try await NodeFixture.run { fixture in
            let name = name.replacing("PATH", with: try fixture.makeFile("b.img"))
            let node = try await fixture.factory.openImage(named: name, options: fixture.readOnly)
            #expect(node.driver.driverName == "raw")
            #expect(node.child(named: "file")?.node.driver.driverName == "file")
        }
    }

    @Test(arguments: ["driver=raw,file.filename=PATH,size=4k", "file.filename=PATH", "driver=file,filename=PATH"])
    func `options of a command line name images`(options: String) async throws {
        try await NodeFixture.run { fixture in
            let text = options.replacing("PATH", with: try fixture.makeFile("c.img"))
            let node = try await fixture.factory.openImage(options: text, options: fixture.readOnly)
            #expect(node.length == (options.contains("4k") ? 4096 : 65536))
        }
    }

    @Test func `what is wrong is said in QEMU's words`() async throws {
        try await NodeFixture.run { fixture in
            let path = try fixture.makeFile("d.img")
            #expect(
                await fixture.error(named: "/nope/x") == "Could not open '/nope/x': No such file or directory")
            #expect(await fixture.error(named: "foo:x") == "Unknown protocol 'foo'")
            #expect(await fixture.error(named: path, format: "nope") == "Unknown driver 'nope'")
            #expect(await fixture.error(named: "") == "The 'file' block driver requires a file name")
            #expect(await fixture.error(named: "json:[]") == "Invalid JSON object given")
            #expect(
                await fixture.error(named: #"json:{"driver":"raw","#)
                    == "Could not parse the JSON options: 1:17: JSON parse error, premature end of input")
            #expect(await fixture.error(named: #"json:{"filename":"x"}"#) == "Must specify either driver or file")
            #expect(
                await fixture.error(named: #"json:{"driver":"raw"}"#, format: "qcow2")
                    == "A block device must be specified for \"file\"")
            #expect(await fixture.error(named: "json:1") == "Invalid JSON object given")
            #expect(await fixture.error(options: "driver=nope,file.filename=x") == "Unknown driver 'nope'")
            #expect(
                await fixture.error(options: "driver=raw,file=foo")
                    == "Cannot find device='foo' nor node-name='foo'")
            #expect(await fixture.error(options: "x") == "Expected '=' after parameter 'x'")
            #expect(fixture.graph.nodes.isEmpty)
        }
    }

    @Test func `relative names start at the image's directory`() throws {
        #expect(try ImageName.resolve("b", relativeTo: "a") == "b")
        #expect(try ImageName.resolve("b", relativeTo: "x/a") == "x/b")
        #expect(try ImageName.resolve("../b", relativeTo: "/x/a") == "/x/../b")
        #expect(try ImageName.resolve("/b", relativeTo: "/x/a") == "/b")
        #expect(try ImageName.resolve("file:b", relativeTo: "/x/a") == "file:b")
        #expect(try ImageName.resolve("y/b:c", relativeTo: "/x/a") == "/x/y/b:c")
        #expect(throws: BlockError.self) { try ImageName.resolve("b", relativeTo: "json:{}") }
    }
}
