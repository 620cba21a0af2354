import Testing

@testable import IOLoop
