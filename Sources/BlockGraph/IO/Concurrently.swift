import IOLoop

/// Runs the body for every item, at most `limit` at a time, on the caller's loop, and returns when all have returned.
///
/// An error does not keep the other items from being done; the first one is thrown at the end.
public func concurrently<Item: Sendable>(
    _ items: [Item], limit: Int, _ body: @escaping @Sendable (Item) async throws(Errno) -> Void
) async throws(Errno) {
    if items.count == 1, let item = items.first { return try await body(item) }
    // Child tasks inherit a preference, but not the executor of an actor.
    let loop = IOLoop.current
    let firstError = await withTaskGroup(of: Errno?.self) { group in
        var remaining = items[...]
        func addNext() {
            guard let item = remaining.popFirst() else { return }
            group.addTask(executorPreference: loop) {
                do throws(Errno) {
                    try await body(item)
                    return nil
                } catch {
                    return error
                }
            }
        }
        for _ in 0..<limit { addNext() }
        var firstError: Errno?
        while let result = await group.next() {
            firstError = firstError ?? result
            addNext()
        }
        return firstError
    }
    if let firstError { throw firstError }
}
