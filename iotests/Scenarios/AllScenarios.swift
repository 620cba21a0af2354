public import IOTests

/// The scenarios that are compiled in.
public let allScenarios: [any Scenario] = [BitmapSyncScenario()]
