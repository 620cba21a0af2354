import Testing

@testable import IOCommands
