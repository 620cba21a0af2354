// The IOCommands module: see docs/architecture.md.
