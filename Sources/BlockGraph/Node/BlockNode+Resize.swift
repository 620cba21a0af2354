import IOLoop

extension BlockNode {
    /// Changes the length in bytes, in a drained section; dirty bitmaps follow. What a longer node gains reads as zeroes.
    ///
    /// - Parameter exact: whether a longer result than asked for is an error.
    /// Errors: the node is read-only; the driver cannot do it.
    @GraphActor
    public func resize(
        to length: Int64, exact: Bool, preallocation: Preallocation = .off
    ) async throws(BlockError) {
        guard !isReadOnly else { throw BlockError("Image is read-only", errno: .EACCES) }
        try await driver.resize(to: length, exact: exact, preallocation: preallocation)
        statistics.noteChange()
        bitmaps.truncate(to: self.length)
    }
}
