/// The events, the introspection and the manual of the sample.
extension Golden {
    static let events = ##"""
        // Made by qapi-generator from qmp-schema/. Do not edit.

        import JSON
        import QAPI

        /// The data of the event `DRAWN`.
        public struct DrawnEvent: QAPIStruct {
            /// Its identifier.
            public var id: String

            /// Sets every member.
            public init(id: String) {
                self.id = id
            }

            /// Decodes the members.
            public init(members: inout QAPIMembers) throws(QMPError) {
                self.id = try members.required("id")
            }

            /// Appends the members.
            public func encode(into object: inout JSONObject) {
                object.encode("id", self.id)
            }
        }

        /// An event of the schema with its data.
        public enum QMPEvent: Sendable, Hashable {
            /// `DRAWN`: Something was drawn.
            case drawn(DrawnEvent)
            /// `STOPPED`: It has stopped.
            case stopped

            /// The name on the wire.
            public var name: String {
                switch self {
                case .drawn: "DRAWN"
                case .stopped: "STOPPED"
                }
            }

            /// The data on the wire, nil where the event has none.
            public var data: JSONObject? {
                switch self {
                case .drawn(let data): data.encodeMembers()
                case .stopped: nil
                }
            }

            /// The event that came with this name and data, nil where the schema has none of the name.
            public init?(name: String, data: JSONObject) throws(QMPError) {
                switch name {
                case "DRAWN": self = .drawn(try DrawnEvent(decoding: data))
                case "STOPPED": self = .stopped
                default: return nil
                }
            }
        }

        """##

    static let introspection = ##"""
        // Made by qapi-generator from qmp-schema/. Do not edit.

        import JSON
        import QAPI

        /// What `query-qmp-schema` answers.
        public enum QMPIntrospection {
            /// An array of `SchemaInfo` as JSON text.
            public static let text = #"""
                [{"name": "draw", "meta-type": "command", "arg-type": "0", "ret-type": "1"},
                 {"name": "query-trees", "meta-type": "command", "arg-type": "2", "ret-type": "any", "features": ["deprecated"]},
                 {"name": "stop", "meta-type": "command", "arg-type": "1", "ret-type": "1", "allow-oob": true},
                 {"name": "DRAWN", "meta-type": "event", "arg-type": "3"},
                 {"name": "STOPPED", "meta-type": "event", "arg-type": "1"},
                 {"name": "0", "meta-type": "object", "members": [{"name": "type", "type": "4"}, {"name": "in", "type": "5", "default": null}], "tag": "type", "variants": [{"case": "circle", "type": "6"}, {"case": "3d-box", "type": "7"}, {"case": "nothing", "type": "1"}]},
                 {"name": "1", "meta-type": "object", "members": []},
                 {"name": "2", "meta-type": "object", "members": [{"name": "id", "type": "str", "default": null}]},
                 {"name": "any", "meta-type": "builtin", "json-type": "value"},
                 {"name": "3", "meta-type": "object", "members": [{"name": "id", "type": "str"}]},
                 {"name": "4", "meta-type": "enum", "members": [{"name": "circle"}, {"name": "3d-box", "features": ["unstable"]}, {"name": "nothing"}], "values": ["circle", "3d-box", "nothing"]},
                 {"name": "5", "meta-type": "alternate", "members": [{"type": "0"}, {"type": "str"}]},
                 {"name": "6", "meta-type": "object", "members": [{"name": "radius", "type": "int", "default": null}]},
                 {"name": "7", "meta-type": "object", "members": [{"name": "width", "type": "int"}]},
                 {"name": "str", "meta-type": "builtin", "json-type": "string"},
                 {"name": "int", "meta-type": "builtin", "json-type": "int"}]
                """#
        }

        """##

    static let manual = ##"""
        # QMP reference

        What Cairn's daemon understands over QMP. This page is made from `qmp-schema/` by `qapi-generator docs`;
        change it there. Members marked *optional* may be left out.

        - [Sample](#sample)

        ## Sample

        A schema with one of everything.

        ### Shape

        *Enum*

        What to draw.

        - `circle`: A circle.
        - `3d-box`: A box. Feature `unstable`.
        - `nothing`: Nothing.

        ### Base

        *Struct*

        What everything has.

        - `id` (str): Its identifier.

        ### Tree

        *Struct*

        A tree.

        Has all members of [Base](#base), and these:

        - `left` ([Tree](#tree), *optional*): The left subtree.
        - `leaves` (array of int, *optional*): Its leaves.

        ### Circle

        *Struct*

        A circle.

        - `radius` (size, *optional*, default 1): Its radius.

        ### Box

        *Struct*

        A box.

        - `width` (uint8): Its width.

        ### Drawing

        *Union*

        A drawing.

        - `type` ([Shape](#shape)): What is drawn.
        - `in` ([DrawingRef](#drawingref), *optional*): Where it is drawn.

        Further members depend on `type`:

        - `circle`: the members of [Circle](#circle)
        - `3d-box`: the members of [Box](#box)
        - `nothing`: none

        ### DrawingRef

        *Alternate*

        A drawing or its name.

        One of:

        - [Drawing](#drawing): A new drawing.
        - str: The name of one.

        ### draw

        *Command*

        Draws.

        The members of [Drawing](#drawing).

        Errors:

        - If there is no ink.

        ### query-trees

        *Command*

        Lists trees.

        - `id` (str, *optional*): Only this one.

        Returns object with names to array of [Tree](#tree): the trees.

        Feature `deprecated`: Look out.

        ### stop

        *Command*

        Stops.

        ### DRAWN

        *Event*

        Something was drawn.

        - `id` (str): Its identifier.

        ### STOPPED

        *Event*

        It has stopped.

        """##
}
