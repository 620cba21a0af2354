import BlockGraph
import IOLoop
import QAPI

/// Actions of which all take effect, or none.
@GraphActor
struct Transaction {
    let graph: BlockGraph
    let actions: [any UndoableAction]

    /// Carries the actions out at one instant: in one drained section over all of their nodes.
    ///
    /// Error: that of the first action that failed. All is as it was before then.
    func run() async throws(QMPError) {
        let nodes = actions.flatMap(\.nodes)
        try await finish(
            await reporting { () async throws(BlockError) in
                await (try graph.drained(nodes) { () async throws(BlockError) in await takeEffect() })
            })
    }

    /// Carries the actions out, where they see to it themselves that nodes are still.
    func runUndrained() async throws(QMPError) { try await finish(await takeEffect()) }

    /// What has been done, and why not more.
    private struct Effect {
        var done: [any UndoableAction] = []
        var error: QMPError?
    }

    private func takeEffect() async -> Effect {
        var effect = Effect()
        for action in actions {
            do {
                try await action.prepare()
                effect.done.append(action)
            } catch {
                effect.error = error
                for action in effect.done.reversed() { await action.abort() }
                return effect
            }
        }
        // Jobs start in this order, the last one first, as clients know it.
        for action in effect.done.reversed() { await action.commit() }
        return effect
    }

    private func finish(_ effect: Effect) async throws(QMPError) {
        for action in effect.done { await action.clean() }
        if let error = effect.error { throw error }
    }
}
