import Testing

@testable import QAPIGenerator

/// A schema with one of everything, and what must be made of it.
enum Golden {
    static let schema = ##"""
        [
          {"pragma": {"title": "Sample", "doc": "A schema with one of everything."}},
          {"enum": "Shape", "doc": "What to draw.", "data": [
            {"name": "circle", "doc": "A circle."},
            {"name": "3d-box", "doc": "A box.", "features": ["unstable"]},
            {"name": "nothing", "doc": "Nothing."}
          ]},
          {"struct": "Base", "doc": "What everything has.", "data": {
            "id": {"type": "str", "doc": "Its identifier."}
          }},
          {"struct": "Tree", "doc": "A tree.", "base": "Base", "data": {
            "*left": {"type": "Tree", "doc": "The left subtree."},
            "*leaves": {"type": ["int"], "doc": "Its leaves."}
          }},
          {"struct": "Circle", "doc": "A circle.", "data": {
            "*radius": {"type": "size", "doc": "Its radius.", "default": "1"}
          }},
          {"struct": "Box", "doc": "A box.", "data": {
            "width": {"type": "uint8", "doc": "Its width."}
          }},
          {"union": "Drawing", "doc": "A drawing.", "base": {
            "type": {"type": "Shape", "doc": "What is drawn."},
            "*in": {"type": "DrawingRef", "doc": "Where it is drawn."}
          }, "discriminator": "type", "data": {"circle": "Circle", "3d-box": "Box"}},
          {"alternate": "DrawingRef", "doc": "A drawing or its name.", "data": {
            "definition": {"type": "Drawing", "doc": "A new drawing."},
            "reference": {"type": "str", "doc": "The name of one."}
          }},
          {"command": "draw", "doc": "Draws.", "boxed": true, "data": "Drawing", "errors": ["If there is no ink."]},
          {"command": "query-trees", "doc": "Lists trees.", "data": {"*id": {"type": "str", "doc": "Only this one."}},
            "returns": {"map": ["Tree"]}, "returns-doc": "the trees.", "features": [{"name": "deprecated", "doc": "Look out."}]},
          {"command": "stop", "doc": "Stops.", "allow-oob": true, "allow-preconfig": true, "success-response": false},
          {"event": "DRAWN", "doc": "Something was drawn.", "data": {"id": {"type": "str", "doc": "Its identifier."}}},
          {"event": "STOPPED", "doc": "It has stopped."}
        ]
        """##
}

@Suite struct GoldenTests {
    private func lines(_ text: String) -> [Substring] {
        text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    @Test func `the sample gives exactly these sources`() throws {
        let files = SwiftEmitter(try Schema(files: [("sample.json", Golden.schema)])).files()
        #expect(files.map(\.name) == SwiftEmitter.fileNames)
        let expected = [Golden.types, Golden.commands, Golden.calls, Golden.events, Golden.introspection]
        for (file, golden) in zip(files, expected) {
            #expect(lines(file.text).difference(from: lines(golden)).isEmpty, "\(file.name)")
        }
    }

    @Test func `the sample gives exactly this manual`() throws {
        let manual = Manual(try Schema(files: [("sample.json", Golden.schema)]))
        #expect(lines(manual.text) == lines(Golden.manual))
    }
}
