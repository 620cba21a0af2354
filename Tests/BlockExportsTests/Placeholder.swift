import Testing

@testable import BlockExports
