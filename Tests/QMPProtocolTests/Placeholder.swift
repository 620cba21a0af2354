import Testing

@testable import QMPProtocol
