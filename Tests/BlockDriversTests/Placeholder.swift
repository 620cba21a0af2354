import Testing

@testable import BlockDrivers
