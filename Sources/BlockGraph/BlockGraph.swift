// The BlockGraph module: see docs/architecture.md.
