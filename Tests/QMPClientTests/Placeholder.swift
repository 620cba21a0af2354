import Testing

@testable import QMPClient
