/// What a query tells about a dirty bitmap.
public struct DirtyBitmapInfo: Equatable, Sendable {
    /// The name; nil for the bitmaps that drivers and jobs use for themselves.
    public var name: String?
    /// The dirty bytes: dirty granules times the granularity.
    public var count: Int64
    /// The bytes that one bit stands for.
    public var granularity: Int64
    /// Whether guest writes are recorded.
    public var recording: Bool
    /// Whether a job or an export uses the bitmap.
    public var busy: Bool
    /// Whether the bitmap is, or will be, stored in the image.
    public var persistent: Bool
    /// Whether the bitmap was not saved properly, so that nothing can be done but remove it. QMP shows only true.
    public var inconsistent: Bool
}
