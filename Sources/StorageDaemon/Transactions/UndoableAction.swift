import BlockGraph
import IOLoop
import QAPI

/// A command that can be taken back: a step of a transaction, or the whole of one.
///
/// `prepare` does the work, so that the actions behind it find it done. Then either `commit` is called or `abort`, and in the
/// end `clean`. Actions are prepared in their order; the others of these steps come in the order that `Transaction` says.
@GraphActor
protocol UndoableAction: AnyObject {
    /// The nodes on which no request may be under way from before the first action to after the last. Those that do not exist
    /// (yet) are left out; `prepare` looks for them.
    var nodes: [BlockNode] { get }
    /// Whether the action starts a job, which can be grouped with other jobs.
    var startsJob: Bool { get }
    /// Does the work. On an error nothing of it is left, and no other step of this action is called.
    func prepare() async throws(QMPError)
    /// Makes the work final. Cannot fail.
    func commit() async
    /// Takes the work back; everything is as it was before `prepare`. What was done later has been taken back.
    func abort() async
    /// Does what may wait until the nodes are in use again, after `commit` or `abort`.
    func clean() async
}

extension UndoableAction {
    var startsJob: Bool { false }
    func commit() async {}
    func abort() async {}
    func clean() async {}
}

/// The action `abort`, which fails.
final class AbortAction: UndoableAction {
    let nodes: [BlockNode] = []

    func prepare() async throws(QMPError) { throw QMPError("Transaction aborted using Abort action") }
}
