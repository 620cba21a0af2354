// The BlockDrivers module: see docs/architecture.md.
