// The QMPServer module: see docs/architecture.md.
