// The BlockExports module: see docs/architecture.md.
