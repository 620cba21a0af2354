/// A method of compressing clusters. The raw values are the names of QMP and of image options.
public enum CompressionKind: String, CaseIterable, Hashable, Sendable {
    /// A raw deflate stream without a header, with a window of 4 KiB: what qcow2 calls "zlib". Spec: qcow2.txt, byte 104
    case zlib
    /// One zstd frame. Spec: qcow2.txt, byte 104
    case zstd
}
