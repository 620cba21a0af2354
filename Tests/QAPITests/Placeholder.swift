import Testing

@testable import QAPI
