import IOLoop

extension BlockNode {
    /// The greatest length of a node, in bytes: 2^63 - 1, rounded down to gibibytes.
    public static let maximumLength: Int64 = 9_223_372_035_781_033_984

    /// Changes the length in bytes, in a drained section; dirty bitmaps follow. What a longer node gains reads as zeroes.
    ///
    /// - Parameter exact: whether a longer result than asked for is an error.
    /// Errors: the node is read-only; a stored bitmap is inconsistent; the length is beyond `maximumLength`; the driver cannot do it.
    @GraphActor
    public func resize(
        to length: Int64, exact: Bool, preallocation: Preallocation = .off
    ) async throws(BlockError) {
        guard !isReadOnly else { throw BlockError("Image is read-only", kind: .generic, errno: .EACCES) }
        guard length <= Self.maximumLength else {
            throw BlockError("offset(\(length)) exceeds maximum(\(Self.maximumLength))", kind: .generic, errno: .EFBIG)
        }
        // A bitmap that the image has but cannot be used could not follow.
        for bitmap in bitmaps.all.reversed() where bitmap.isPersistent && bitmap.isInconsistent {
            throw BlockError(BitmapError.inconsistent(bitmap.name ?? ""))
        }
        try await driver.resize(to: length, exact: exact, preallocation: preallocation)
        statistics.noteChange()
        for bitmap in bitmapsOfLength { bitmap.truncate(to: self.length) }
    }

    /// The bitmaps that are as long as the node. A driver's own, which record nothing, belong to a point in time.
    private var bitmapsOfLength: [DirtyBitmap] { bitmaps.all.filter { $0.name != nil || $0.isRecording } }
}
