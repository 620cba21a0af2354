import Testing

@testable import QAPIGenerator

@Suite struct SchemaErrorTests {
    private func failure(_ text: String) -> String? {
        do {
            _ = try Schema(files: [("x.json", text)])
            return nil
        } catch {
            return error.description
        }
    }

    private static let valid = """
        {"enum": "E", "doc": "d", "data": [{"name": "a", "doc": "d"}, {"name": "b", "doc": "d"}]},
        {"struct": "S", "doc": "d", "data": {"m": {"type": "str", "doc": "d"}}}
        """

    @Test func `a valid schema is accepted`() {
        #expect(failure("[\(Self.valid)]") == nil)
    }

    @Test func `an error names the line of its definition`() {
        let text = "[\n\(Self.valid),\n{\"struct\": \"Bad\",\n \"doc\": \"d\"}]"
        #expect(failure(text) == "x.json:4: error: In struct 'Bad': 'data' is missing")
    }

    @Test func `text that is not JSON is located`() {
        let text = failure("[\n{\"struct\": }]")
        #expect(text?.hasPrefix("x.json:2: error: ") == true)
    }

    static let rules: [(definition: String, message: String)] = [
        (#"1"#, "every element must be an object"),
        (#"{"thing": "X"}"#, "a definition is a struct, enum, union, alternate, command, event, or pragma"),
        (#"{"struct": "X", "doc": "d", "data": {}, "boxed": true}"#, "In struct 'X': unknown key 'boxed'"),
        (#"{"struct": "X", "data": {}}"#, "In struct 'X': 'doc' is missing"),
        (#"{"struct": "X", "doc": 1, "data": {}}"#, "In struct 'X': 'doc' must be a string"),
        (#"{"struct": "S", "doc": "d", "data": {}}"#, "In struct 'S': the name is already taken"),
        (#"{"struct": "str", "doc": "d", "data": {}}"#, "In struct 'str': the name is that of a built-in type"),
        (#"{"struct": "x_y", "doc": "d", "data": {}}"#, "In struct 'x_y': a type is named in camel case"),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": "str"}}"#,
            "In struct 'X', member 'a': expected an object with 'type' and 'doc'"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": "str"}}}"#,
            "In struct 'X', member 'a': 'doc' is missing"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": ["str", "int"], "doc": "d"}}}"#,
            #"In struct 'X', member 'a': a type is a name, an array of one type, or {"map": type}"#
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": "str", "doc": "d", "default": "x"}}}"#,
            "In struct 'X', member 'a': only an optional member has a default"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": "Nope", "doc": "d"}}}"#,
            "In struct 'X': member 'a' has unknown type 'Nope'"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": ["size"], "doc": "d"}}}"#,
            "In struct 'X': member 'a' cannot be a collection of 'size'; use 'uint64'"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"aB": {"type": "str", "doc": "d"}}}"#,
            "In struct 'X': member 'aB' must be in lower case with dashes"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a": {"type": "str", "doc": "d"}, "*a": {"type": "str", "doc": "d"}}}"#,
            "In struct 'X': member 'a' appears twice"
        ),
        (
            #"{"struct": "X", "doc": "d", "data": {"a-1": {"type": "str", "doc": "d"}, "a1": {"type": "str", "doc": "d"}}}"#,
            "In struct 'X': member 'a1' has the same name in Swift as another"
        ),
        (#"{"struct": "X", "doc": "d", "base": "E", "data": {}}"#, "In struct 'X': base 'E' is not a struct"),
        (#"{"struct": "X", "doc": "d", "base": "X", "data": {}}"#, "In struct 'X': the struct is its own base"),
        (
            #"{"struct": "X", "doc": "d", "base": "S", "data": {"m": {"type": "str", "doc": "d"}}}"#,
            "In struct 'X': member 'm' appears twice"
        ),
        (#"{"enum": "X", "doc": "d", "data": []}"#, "In enum 'X': there is no value"),
        (#"{"enum": "X", "doc": "d", "data": ["a"]}"#, "In enum 'X': a value is an object with 'name' and 'doc'"),
        (
            #"{"enum": "X", "doc": "d", "data": [{"name": "a", "doc": "d"}, {"name": "a", "doc": "d"}]}"#,
            "In enum 'X': value 'a' appears twice"
        ),
        (
            #"{"enum": "X", "doc": "d", "data": [{"name": "A", "doc": "d"}]}"#,
            "In enum 'X': value 'A' must be in lower case with dashes"
        ),
        (#"{"union": "X", "doc": "d", "base": {}, "data": {}}"#, "In union 'X': 'discriminator' is missing"),
        (#"{"union": "X", "doc": "d", "discriminator": "t", "data": {}}"#, "In union 'X': 'base' is missing"),
        (
            #"{"union": "X", "doc": "d", "base": "E", "discriminator": "t", "data": {}}"#,
            "In union 'X': base 'E' is not a struct"
        ),
        (
            #"{"union": "X", "doc": "d", "base": "S", "discriminator": "t", "data": {}}"#,
            "In union 'X': discriminator 't' is not a member of the base"
        ),
        (
            #"{"union": "X", "doc": "d", "base": "S", "discriminator": "m", "data": {}}"#,
            "In union 'X': discriminator 'm' must be a mandatory enumeration"
        ),
        (
            #"{"union": "X", "doc": "d", "base": {"*t": {"type": "E", "doc": "d"}}, "discriminator": "t", "data": {}}"#,
            "In union 'X': discriminator 't' must be a mandatory enumeration"
        ),
        (union("\"c\": \"S\""), "In union 'X': variant 'c' is not a value of 'E'"),
        (union("\"a\": \"E\""), "In union 'X': variant 'a' must name a struct"),
        (union("\"a\": [\"S\"]"), "In union 'X': variant 'a' must name a struct"),
        (
            union("\"a\": \"S\"", base: "\"m\": {\"type\": \"str\", \"doc\": \"d\"}, "),
            "In union 'X': member 'm' of variant 'a' is also in the base"
        ),
        (
            #"{"alternate": "X", "doc": "d", "data": {"a": {"type": "str", "doc": "d"}}}"#,
            "In alternate 'X': an alternate needs two branches"
        ),
        (
            #"{"alternate": "X", "doc": "d", "data": {"a": {"type": "str", "doc": "d"}, "b": {"type": "E", "doc": "d"}}}"#,
            "In alternate 'X': branch 'b' looks like another branch in JSON"
        ),
        (
            #"{"alternate": "X", "doc": "d", "data": {"a": {"type": "str", "doc": "d"}, "b": {"type": "any", "doc": "d"}}}"#,
            "In alternate 'X': branch 'b' cannot be told apart from others"
        ),
        (#"{"command": "do_it", "doc": "d"}"#, "In command 'do_it': a command is named in lower case with dashes"),
        (#"{"command": "x", "doc": "d", "boxed": true}"#, "In command 'x': 'boxed' needs the name of a type as 'data'"),
        (#"{"command": "x", "doc": "d", "boxed": "yes"}"#, "In command 'x': 'boxed' must be true or false"),
        (#"{"command": "x", "doc": "d", "data": "E"}"#, "In command 'x': 'data' names no struct: 'E'"),
        (#"{"command": "x", "doc": "d", "returns": "Nope"}"#, "In command 'x': 'returns' has unknown type 'Nope'"),
        (#"{"event": "x", "doc": "d"}"#, "In event 'x': an event is named in upper case with underscores"),
        (#"{"event": "X", "doc": "d", "data": "Nope"}"#, "In event 'X': 'data' names no struct: 'Nope'"),
        (#"{"pragma": {"whatever": 1}}"#, "In pragma: unknown key 'whatever'"),
    ]

    private static func union(_ variants: String, base: String = "") -> String {
        """
        {"union": "X", "doc": "d", "base": {\(base)"t": {"type": "E", "doc": "d"}}, "discriminator": "t", \
        "data": {\(variants)}}
        """
    }

    @Test(arguments: rules) func `a rule that is broken is named`(definition: String, message: String) {
        let found = failure("[\n\(Self.valid),\n\(definition)\n]") ?? ""
        #expect(found.hasSuffix("error: \(message)"), "\(found)")
    }

    @Test func `a union needs boxed to be arguments`() {
        let union = Self.union("\"a\": \"S2\"")
        let other = #"{"struct": "S2", "doc": "d", "data": {}}"#
        let command = #"{"command": "x", "doc": "d", "data": "X"}"#
        #expect(
            failure("[\(Self.valid), \(other), \(union), \(command)]")
                == "x.json:2: error: In command 'x': 'data' can be a union only with 'boxed'")
    }

    @Test func `exceptions lift the rules for names`() {
        let pragma = #"{"pragma": {"title": "T", "name-exceptions": ["do_it", "X"]}}"#
        let command = #"{"command": "do_it", "doc": "d", "data": {"a_b": {"type": "str", "doc": "d"}}}"#
        let enumeration = #"{"enum": "X", "doc": "d", "data": [{"name": "a_B", "doc": "d"}]}"#
        #expect(failure("[\(pragma), \(command), \(enumeration)]") == nil)
    }
}
