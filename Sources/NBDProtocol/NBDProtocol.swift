// The NBDProtocol module: see docs/architecture.md.
