/// The types of the sample.
extension Golden {
    static let types = ##"""
        // Made by qapi-generator from qmp-schema/. Do not edit.

        import JSON
        import QAPI

        /// What to draw.
        public enum Shape: String, QAPIEnum {
            /// A circle.
            case circle
            /// A box.
            ///
            /// Feature `unstable`.
            case _3dBox = "3d-box"
            /// Nothing.
            case nothing
        }

        /// What everything has.
        public struct Base: QAPIStruct {
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

        /// A tree.
        public struct Tree: QAPIStruct {
            /// Its identifier.
            public var id: String
            /// The left subtree.
            @Indirect public var left: Tree?
            /// Its leaves.
            public var leaves: [Int64]?

            /// Sets every member.
            public init(id: String, left: Tree? = nil, leaves: [Int64]? = nil) {
                self.id = id
                self.left = left
                self.leaves = leaves
            }

            /// Decodes the members.
            public init(members: inout QAPIMembers) throws(QMPError) {
                self.id = try members.required("id")
                self.left = try members.optional("left")
                self.leaves = try members.optional("leaves")
            }

            /// Appends the members.
            public func encode(into object: inout JSONObject) {
                object.encode("id", self.id)
                object.encode("left", self.left)
                object.encode("leaves", self.leaves)
            }
        }

        /// A circle.
        public struct Circle: QAPIStruct {
            /// Its radius. Default: 1.
            public var radius: UInt64?

            /// Sets every member.
            public init(radius: UInt64? = nil) {
                self.radius = radius
            }

            /// Decodes the members.
            public init(members: inout QAPIMembers) throws(QMPError) {
                self.radius = try members.optionalSize("radius")
            }

            /// Appends the members.
            public func encode(into object: inout JSONObject) {
                object.encode("radius", self.radius)
            }
        }

        /// A box.
        public struct Box: QAPIStruct {
            /// Its width.
            public var width: UInt8

            /// Sets every member.
            public init(width: UInt8) {
                self.width = width
            }

            /// Decodes the members.
            public init(members: inout QAPIMembers) throws(QMPError) {
                self.width = try members.required("width")
            }

            /// Appends the members.
            public func encode(into object: inout JSONObject) {
                object.encode("width", self.width)
            }
        }

        /// A drawing.
        public struct Drawing: QAPIStruct {
            /// What is drawn.
            public var type: Kind
            /// Where it is drawn.
            public var `in`: DrawingRef?

            /// The variants, told apart by `type`.
            public indirect enum Kind: Sendable, Hashable {
                /// A circle.
                case circle(Circle)
                /// A box.
                ///
                /// Feature `unstable`.
                case _3dBox(Box)
                /// Nothing.
                case nothing

                /// The value of `type` on the wire.
                public var tag: Shape {
                    switch self {
                    case .circle: .circle
                    case ._3dBox: ._3dBox
                    case .nothing: .nothing
                    }
                }

                init(_ tag: Shape, members: inout QAPIMembers) throws(QMPError) {
                    switch tag {
                    case .circle: self = .circle(try Circle(members: &members))
                    case ._3dBox: self = ._3dBox(try Box(members: &members))
                    case .nothing: self = .nothing
                    }
                }

                func encode(into object: inout JSONObject) {
                    switch self {
                    case .circle(let value): value.encode(into: &object)
                    case ._3dBox(let value): value.encode(into: &object)
                    case .nothing: break
                    }
                }
            }

            /// Sets every member.
            public init(type: Kind, `in`: DrawingRef? = nil) {
                self.type = type
                self.`in` = `in`
            }

            /// Decodes the members, then those of the variant.
            public init(members: inout QAPIMembers) throws(QMPError) {
                let tag: Shape = try members.required("type")
                self.`in` = try members.optional("in")
                self.type = try Kind(tag, members: &members)
            }

            /// Appends the members, then those of the variant.
            public func encode(into object: inout JSONObject) {
                object.encode("type", self.type.tag)
                object.encode("in", self.`in`)
                self.type.encode(into: &object)
            }
        }

        /// A drawing or its name.
        public indirect enum DrawingRef: QAPIType {
            /// A new drawing.
            case definition(Drawing)
            /// The name of one.
            case reference(String)

            /// Decodes the branch that has the JSON type of the value.
            public init(decoding value: QAPIValue) throws(QMPError) {
                switch value.kind {
                case .object: self = .definition(try Drawing(decoding: value))
                case .string: self = .reference(try String(decoding: value))
                default: throw value.noBranch(of: "DrawingRef")
                }
            }

            /// The value of the branch.
            public func encode() -> JSON {
                switch self {
                case .definition(let value): value.encode()
                case .reference(let value): value.encode()
                }
            }
        }

        /// The arguments of `query-trees`.
        public struct QueryTreesArguments: QAPIStruct {
            /// Only this one.
            public var id: String?

            /// Sets every member.
            public init(id: String? = nil) {
                self.id = id
            }

            /// Decodes the members.
            public init(members: inout QAPIMembers) throws(QMPError) {
                self.id = try members.optional("id")
            }

            /// Appends the members.
            public func encode(into object: inout JSONObject) {
                object.encode("id", self.id)
            }
        }

        """##
}
