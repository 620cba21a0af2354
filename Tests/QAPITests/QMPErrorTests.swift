import QAPI
import Testing

@Suite struct QMPErrorTests {
    @Test func `an error without a class is a GenericError`() {
        #expect(QMPError("x") == QMPError(.genericError, "x"))
        #expect(ErrorClass.genericError.rawValue == "GenericError")
    }

    @Test func `every class has its name on the wire`() {
        #expect(
            ErrorClass.allCases.map(\.rawValue) == [
                "GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap",
            ])
    }
}
