import JSON
import Testing

@testable import QAPI

@Suite struct KeyvalTests {
    private func parse(_ text: String, implied: String? = "driver") throws(QMPError) -> JSON {
        .object(try Keyval(text, impliedKey: implied).object)
    }

    private func failure(_ text: String, implied: String? = "driver") -> String? {
        do {
            _ = try Keyval(text, impliedKey: implied)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `dotted keys make objects`() throws {
        #expect(try parse("a=1,b.c=2,b.d.e=3") == ["a": "1", "b": ["c": "2", "d": ["e": "3"]]])
        #expect(try parse("") == [:])
        #expect(try parse("a=") == ["a": ""])
        #expect(try parse("a=b=c") == ["a": "b=c"])
    }

    @Test func `keys of digits make arrays`() throws {
        #expect(try parse("a.1=y,a.0=x") == ["a": ["x", "y"]])
        #expect(try parse("a.0.b=1,a.1.c.0=2") == ["a": [["b": "1"], ["c": ["2"]]]])
        #expect(try parse("a.00=x") == ["a": ["x"]])
    }

    @Test func `of a number in several spellings QEMU's pick counts`() throws {
        #expect(try parse("p.0=zz,p.00=write") == ["p": ["write"]])
        #expect(try parse("p.0=zz,p.00=write,p.000=yy") == ["p": ["yy"]])
        #expect(try parse("p.1=zz,p.01=write,p.0=write") == ["p": ["write", "write"]])
    }

    @Test func `the last value of a key counts`() throws {
        #expect(try parse("a=1,a=2") == ["a": "2"])
        #expect(try parse("a.b=1,a.b=2") == ["a": ["b": "2"]])
    }

    @Test func `the first part may leave its key out`() throws {
        #expect(try parse("file,filename=x") == ["driver": "file", "filename": "x"])
        #expect(try parse("file,driver=raw") == ["driver": "raw"])
        #expect(try parse("file,") == ["driver": "file"])
        #expect(try parse(" {}") == ["driver": " {}"])
        #expect(failure("file", implied: nil) == "Expected '=' after parameter 'file'")
    }

    @Test func `two commas in a value are one`() throws {
        #expect(try parse("a=x,,y,b=,,") == ["a": "x,y", "b": ","])
        #expect(try parse("raw,a=,,,b=1") == ["driver": "raw", "a": ",", "b": "1"])
        #expect(try parse("driver=file,,") == ["driver": "file,"])
        #expect(try parse("a=x,") == ["a": "x"])
    }

    @Test func `names may carry a domain`() throws {
        #expect(try parse("__com.red-hat_x=1") == ["__com.red-hat_x": "1"])
        #expect(try parse("q.__x.y_z.w=1") == ["q": ["__x.y_z": ["w": "1"]]])
    }

    @Test func `help is noticed anywhere but as a value`() throws {
        for text in ["help", "?", "file,help", "a=1,?", "help,a=1", "file,help,help"] {
            #expect(try Keyval(text, impliedKey: "driver").asksForHelp)
        }
        for text in ["help=1", "driver=help", "help.x=1"] {
            #expect(try !Keyval(text, impliedKey: "driver").asksForHelp)
        }
    }

    // What qemu-storage-daemon 11.1.3 says to `--blockdev`.
    static let failures: [(text: String, message: String)] = [
        (",", "Invalid parameter ''"), ("=", "Invalid parameter ''"), ("=x", "Invalid parameter ''"),
        ("a,,b", "Invalid parameter ''"), (",,=1", "Invalid parameter ''"), ("driver,=x", "Invalid parameter ''"),
        ("x=1,read-only", "Expected '=' after parameter 'read-only'"),
        ("file,help,x", "Expected '=' after parameter 'x'"), ("x=1,a.help", "Expected '=' after parameter 'a.help'"),
        ("x=1,1x", "Invalid parameter '1x'"), ("x=1,?x", "Invalid parameter '?x'"),
        ("a!b=c", "Invalid parameter 'a!b'"), ("a b=c", "Invalid parameter 'a b'"), ("é=1", "Invalid parameter 'é'"),
        ("1x=c", "Invalid parameter '1x'"), ("_x=c", "Invalid parameter '_x'"), ("-x=c", "Invalid parameter '-x'"),
        ("file..x=1", "Invalid parameter 'file..x'"), ("file.=1", "Invalid parameter 'file.'"),
        (".file=1", "Invalid parameter '.file'"), ("a.1b=1", "Invalid parameter 'a.1b'"),
        ("a.-1.b=1", "Invalid parameter 'a.-1.b'"), ("0=a", "Invalid parameter '0'"),
        ("0.a=a", "Invalid parameter '0.a'"), ("__x=1", "Invalid parameter '__x'"),
        ("__x_=1", "Invalid parameter '__x_'"), ("__com.redhat_1x=1", "Invalid parameter '__com.redhat_1x'"),
        ("file=a,file.driver=b", "Parameters 'file.*' used inconsistently"),
        ("file.driver=b,file=a", "Parameters 'file.*' used inconsistently"),
        ("x.y.z=1,x.y=2", "Parameters 'x.y.*' used inconsistently"),
        ("a.b.c.d.e=1,a.b.c=1", "Parameters 'a.b.c.*' used inconsistently"),
        ("a.0=1,a.b=2", "Parameters 'a.*' used inconsistently"),
        ("x.0.a.0=1,x.0.a.b=2,x.y=3", "Parameters 'x.0.a.*' used inconsistently"),
        ("y.2=1,x.1=1,x.a=2", "Parameters 'x.*' used inconsistently"),
        ("b.0=1,b.0.x=2", "Parameters 'b.0.*' used inconsistently"),
        ("a.1=x,b=1,b.c=2", "Parameters 'b.*' used inconsistently"),
        ("a.0=x,a.2=y", "Parameter 'a.1' missing"), ("a.1=x", "Parameter 'a.0' missing"),
        ("a.01=x", "Parameter 'a.0' missing"), ("a.99999999999999999999=x", "Parameter 'a.0' missing"),
        ("x.1.a.1=1,x.1.b=2", "Parameter 'x.1.a.0' missing"), ("z.1=1,a.1=1", "Parameter 'a.0' missing"),
        ("foo.1=1,bar.1=1,baz.2=1", "Parameter 'baz.0' missing"),
        ("file.1=x,cache.1=x,node.1=x", "Parameter 'node.0' missing"),
    ]

    @Test(arguments: failures) func `errors have QEMU's words`(text: String, message: String) {
        #expect(failure(text) == message)
    }

    @Test func `fragments have less than 128 bytes`() throws {
        let fits = String(repeating: "x", count: 127)
        let long = fits + "x"
        #expect(try parse("\(fits)=1") == .object(JSONObject([(fits, JSON.string("1"))])))
        #expect(failure("a.\(fits).\(fits)=1") == nil)
        #expect(failure("\(long)=1") == "Parameter '\(long)' is too long")
        #expect(failure("a=1,\(long)") == "Parameter '\(long)' is too long")
        #expect(failure("a.\(long)=1") == "Parameter fragment '\(long)' is too long")
        #expect(failure("\(long).z=1") == "Parameter fragment '\(long)' is too long")
        let digits = String(repeating: "1", count: 128)
        #expect(failure("a.\(digits)=1") == "Parameter fragment '\(digits)' is too long")
    }

    @Test func `nesting has a limit`() {
        func key(_ depth: Int) -> String { Array(repeating: "a", count: depth).joined(separator: ".") }
        #expect(failure("\(key(1024))=1") == nil)
        #expect(failure("\(key(1025))=1") == "Parameter '\(key(1025))' is nested too deeply")
    }

    @Test func `many keys are parsed in reasonable time`() throws {
        let text = (0..<20_000).map { "a.\($0)=x" }.joined(separator: ",")
        guard case .array(let elements) = try Keyval(text).object["a"] else {
            Issue.record("not an array")
            return
        }
        #expect(elements.count == 20_000)
    }

    @Test func `decoding takes JSON where the text starts with a brace`() throws {
        func parseJSON(_ text: String) throws(QMPError) -> JSON {
            #expect(text == "{\"x\": 1}")
            return ["x": 1]
        }
        #expect(throws: QMPError("Parameter 'x' is unexpected")) {
            try Keyval.decode(QMPNoArguments.self, from: "{\"x\": 1}", parseJSON: parseJSON)
        }
        #expect(throws: QMPError("Help is not available for this option")) {
            try Keyval.decode(QMPNoArguments.self, from: "help", parseJSON: parseJSON)
        }
        #expect(try Keyval.decode(QMPNoArguments.self, from: "", parseJSON: parseJSON) == QMPNoArguments())
    }
}
