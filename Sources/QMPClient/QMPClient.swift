// The QMPClient module: see docs/architecture.md.
