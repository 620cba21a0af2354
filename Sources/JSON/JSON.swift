// The JSON module: see docs/architecture.md.
