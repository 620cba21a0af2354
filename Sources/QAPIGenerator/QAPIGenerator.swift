// The QAPIGenerator module: see docs/architecture.md.
