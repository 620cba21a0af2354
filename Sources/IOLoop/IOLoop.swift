// The IOLoop module: see docs/architecture.md.
