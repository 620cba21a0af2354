/// The commands of the sample.
extension Golden {
    static let commands = ##"""
        // Made by qapi-generator from qmp-schema/. Do not edit.

        import JSON
        import QAPI

        /// What runs the commands of the schema: one method for each.
        public protocol QMPCommandHandler: Sendable {
            /// `draw`: Draws.
            ///
            /// Errors: If there is no ink.
            func draw(_ arguments: Drawing) async throws(QMPError)

            /// `query-trees`: Lists trees.
            ///
            /// Returns the trees.
            ///
            /// Feature `deprecated`: Look out.
            func queryTrees(_ arguments: QueryTreesArguments) async throws(QMPError) -> [String: [Tree]]

            /// `stop`: Stops.
            func stop() async throws(QMPError)
        }

        /// Runs commands by name: decodes their arguments, calls the handler, and encodes what it returns.
        public struct QMPDispatcher: QMPCommandSet {
            /// What runs the commands.
            public let handler: any QMPCommandHandler

            /// A dispatcher on top of a handler.
            public init(_ handler: any QMPCommandHandler) {
                self.handler = handler
            }

            /// What is known about a command, nil where there is none of this name.
            public func command(named name: String) -> QMPCommandInfo? {
                QMPCommands.all.first { $0.name == name }
            }

            /// Runs a command and returns its value as JSON; see `QMPCommandSet`.
            public func execute(_ name: String, _ arguments: JSONObject) async throws(QMPError) -> JSON {
                switch name {
                case "draw":
                    let decoded = try Drawing(decoding: arguments)
                    try await handler.draw(decoded)
                    return .object(JSONObject())
                case "query-trees":
                    let decoded = try QueryTreesArguments(decoding: arguments)
                    return try await handler.queryTrees(decoded).encode()
                case "stop":
                    _ = try QMPNoArguments(decoding: arguments)
                    try await handler.stop()
                    return .object(JSONObject())
                default: throw .commandNotFound(name)
                }
            }
        }

        /// The commands of the schema.
        public enum QMPCommands {
            /// All commands in the order of `query-commands`, the last of the schema first.
            public static let all: [QMPCommandInfo] = [
                QMPCommandInfo("stop", allowsOutOfBand: true, allowsPreconfig: true, hasSuccessResponse: false),
                QMPCommandInfo("query-trees"),
                QMPCommandInfo("draw"),
            ]
        }

        """##

    static let calls = ##"""
        // Made by qapi-generator from qmp-schema/. Do not edit.

        import JSON
        import QAPI

        extension QMPCaller {
            /// `draw`: Draws.
            ///
            /// Errors: If there is no ink.
            public func draw(_ arguments: Drawing) async throws {
                _ = try await execute("draw", arguments.encodeMembers())
            }

            /// `query-trees`: Lists trees.
            ///
            /// Returns the trees.
            ///
            /// Feature `deprecated`: Look out.
            public func queryTrees(id: String? = nil) async throws -> [String: [Tree]] {
                let arguments = QueryTreesArguments(id: id)
                let result = try await execute("query-trees", arguments.encodeMembers())
                return try [String: [Tree]](decoding: QAPIValue(result))
            }

            /// `stop`: Stops.
            public func stop() async throws {
                _ = try await execute("stop", nil)
            }
        }

        """##
}
