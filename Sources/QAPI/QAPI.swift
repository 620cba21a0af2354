// The QAPI module: see docs/architecture.md.
