import IOCommands
import QAPI
import QMPSchema

/// `human-monitor-command`.
extension StorageDaemon {
    func humanMonitorCommand(_ arguments: HumanMonitorCommandArguments) async throws(QMPError) -> String {
        await humanMonitor.run(arguments.commandLine)
    }
}
