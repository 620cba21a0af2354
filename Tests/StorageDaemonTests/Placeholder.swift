import Testing

@testable import StorageDaemon
