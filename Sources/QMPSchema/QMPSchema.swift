// The QMPSchema module: see docs/architecture.md.
