import IOLoop

/// Runs the body for each item, at most `limit` at a time, on the caller's loop. After the first error no further item is
/// begun, and the error is thrown once those under way have returned.
public func concurrently<Item: Sendable>(
    _ items: [Item], limit: Int, _ body: @escaping @Sendable (Item) async throws(Errno) -> Void
) async throws(Errno) {
    if items.count <= 1 {
        for item in items { try await body(item) }
        return
    }
    let firstError = await withTaskGroup(of: Errno?.self) { group in
        var next = 0
        var firstError: Errno?
        func addNext() {
            guard next < items.count, firstError == nil else { return }
            let item = items[next]
            next += 1
            group.addTask {
                do throws(Errno) {
                    try await body(item)
                    return nil
                } catch {
                    return error
                }
            }
        }
        for _ in 0..<limit { addNext() }
        while let result = await group.next() {
            if firstError == nil { firstError = result }
            addNext()
        }
        return firstError
    }
    if let firstError { throw firstError }
}
