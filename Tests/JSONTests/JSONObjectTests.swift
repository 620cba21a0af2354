import JSON
import Testing

@Suite struct JSONObjectTests {
    @Test func `setting, replacing and removing keeps the order`() {
        var object: JSONObject = ["a": 1, "b": 2, "c": 3]
        object["b"] = 5
        object["a"] = nil
        object["d"] = 4
        object["zz"] = nil
        #expect(object.members.map(\.name) == ["b", "c", "d"])
        #expect(object["b"] == 5)
        #expect(object["a"] == nil)
    }

    @Test func `a large object behaves like a small one`() {
        var object = JSONObject()
        var model: [(String, JSON)] = []
        for step in 0..<200 {
            let name = "name\(step * 7 % 40)"
            if step % 5 == 4 {
                object[name] = nil
                model.removeAll { $0.0 == name }
            } else {
                let value = JSON.integer(Int64(step))
                object[name] = value
                if let index = model.firstIndex(where: { $0.0 == name }) {
                    model[index].1 = value
                } else {
                    model.append((name, value))
                }
            }
            #expect(object.members.map(\.name) == model.map(\.0))
            #expect(model.allSatisfy { object[$0.0] == $0.1 })
        }
    }

    @Test func `names are told apart by their bytes`() {
        let object: JSONObject = ["\u{e9}": 1, "e\u{301}": 2]
        #expect(object.count == 2)
        #expect(object["\u{e9}"] == 1)
    }

    @Test func `equality and hash ignore the order`() {
        let a: JSONObject = ["a": 1, "b": 2]
        let b: JSONObject = ["b": 2, "a": 1]
        #expect(a == b)
        #expect(a.hashValue == b.hashValue)
        #expect(a != ["a": 1, "b": 3])
        #expect(a != ["a": 1])
    }
}
