import Testing

@testable import BlockGraph
