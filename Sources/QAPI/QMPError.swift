/// An error as QMP reports it: a class for programs and a description for people.
///
/// Spec: qmp-spec.rst, "Error" under "Server Responses".
public struct QMPError: Error, Sendable, Hashable {
    /// The class of the error; anything but `genericError` is for clients that must tell the case apart.
    public var errorClass: ErrorClass
    /// What went wrong, in one sentence without a final stop.
    public var description: String
    /// What may help a person at a terminal; the command line prints it on a line of its own, QMP does not send it.
    public var hint: String?

    /// An error of class `GenericError`.
    public init(_ description: String) {
        self.init(.genericError, description)
    }

    /// An error of a class that programs can tell apart.
    public init(_ errorClass: ErrorClass, _ description: String, hint: String? = nil) {
        self.errorClass = errorClass
        self.description = description
        self.hint = hint
    }
}

extension QMPError: CustomStringConvertible {}

/// The classes of QMP errors; the raw value is the name on the wire.
public enum ErrorClass: String, Sendable, Hashable, CaseIterable {
    /// Every error that needs no class of its own.
    case genericError = "GenericError"
    /// There is no such command, or it may not be used now.
    case commandNotFound = "CommandNotFound"
    /// A device or job that must be active is not.
    case deviceNotActive = "DeviceNotActive"
    /// There is no such device.
    case deviceNotFound = "DeviceNotFound"
    /// A capability of the kernel's virtual machine support is missing.
    case kvmMissingCap = "KVMMissingCap"
}
