// The QMPProtocol module: see docs/architecture.md.
