import Testing

@testable import QMPServer
