import Testing

@testable import QMPSchema
