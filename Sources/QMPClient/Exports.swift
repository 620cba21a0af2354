// What programs that use the client need of other modules: addresses, values, errors and events. The typed commands
// come with `import QMPSchema`, which has types of the schema whose names may clash with those of the program.
@_exported public import IOLoop
@_exported public import JSON
@_exported public import QAPI
@_exported public import QMPProtocol
