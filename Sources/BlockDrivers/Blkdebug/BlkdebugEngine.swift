import BlockGraph

/// The rules of a `blkdebug` node at work: events arm rules and change the state, armed rules make requests fail.
/// A pure value.
struct BlkdebugEngine: Sendable {
    /// What becomes of a request.
    struct Injection: Equatable, Sendable {
        /// The number of the error to fail with; 0 or less: it does not fail.
        var errno: Int64
        /// How long it is held back, in nanoseconds; at least 0.
        var delayNanoseconds: Int64
    }

    private struct Rule: Sendable {
        let number: Int
        let injection: BlkdebugInjectError
    }

    private var injections: [Rule]
    private let transitions: [BlkdebugSetState]
    /// The rules that make requests fail, in the order in which they were given.
    private var armed: [Rule] = []
    /// The state, 1 in the beginning.
    private(set) var state: Int64 = 1

    /// An engine at which the event `none` has taken place.
    init(injections: [BlkdebugInjectError], transitions: [BlkdebugSetState]) {
        self.injections = injections.enumerated().map { Rule(number: $0.offset, injection: $0.element) }
        self.transitions = transitions
        process(.none)
    }

    /// Whether no rule is armed, so that no request fails.
    var isIdle: Bool { armed.isEmpty }

    /// Carries out the rules for an event. The rules that it arms take the place of those that were armed before; an
    /// event that arms none leaves them. All rules look at the state before the event.
    mutating func process(_ event: DebugEvent) {
        let newlyArmed = injections.filter { $0.injection.event == event && holds($0.injection.state) }
        if !newlyArmed.isEmpty { armed = newlyArmed }
        if let transition = transitions.last(where: { $0.event == event && holds($0.state) }) {
            state = transition.newState
        }
    }

    private func holds(_ required: Int64?) -> Bool { required ?? 0 == 0 || required == state }

    /// What becomes of a request; nil where it is carried out.
    mutating func inject(_ type: BlkdebugIOType, _ range: ByteRange) -> Injection? {
        guard let rule = armed.first(where: { $0.injection.matches(type, range) }) else { return nil }
        if rule.injection.once == true {
            armed.removeAll { $0.number == rule.number }
            injections.removeAll { $0.number == rule.number }
        }
        return Injection(
            errno: rule.injection.errno ?? 5, delayNanoseconds: max(0, rule.injection.delayNanoseconds ?? 0))
    }
}
