// The StorageDaemon module: see docs/architecture.md.
