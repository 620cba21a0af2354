import IOTests
import JSON

/// The errors of backups whose bitmap arguments do not go together.
struct BackupArguments {
    private let context: ScenarioContext

    init(_ context: ScenarioContext) { self.context = context }

    func run() async throws {
        context.log("\n=== API failure tests ===\n")
        let disk = try await BackupDisk.start(context, file: BackupDisk.file(context))
        context.log()
        try await disk.createTarget("backup_target", file: "dummy")
        context.log()
        try await disk.server.logged(
            "block-dirty-bitmap-add",
            ["node": "drive0", "name": "bitmap0", "granularity": .integer(Disk.granularity)])
        context.log("\n-- Testing invalid QMP commands --\n")
        for sync in ["incremental", "bitmap", "full", "top", "none"] {
            context.log("-- Sync mode \(sync) tests --\n")
            for bitmap in [nil, "bitmap404", "bitmap0"] {
                for mode in ["on-success", "always", "never", nil]
                where !isValid(sync: sync, bitmap: bitmap, mode: mode) {
                    var more = JSONObject()
                    more["bitmap"] = bitmap.map(JSON.string)
                    more["bitmap-mode"] = mode.map(JSON.string)
                    try await disk.startBackup("api_job", to: "backup_target", sync: sync, more)
                    context.log()
                }
            }
        }
        try await disk.server.quit()
    }

    /// Whether a backup would start.
    private func isValid(sync: String, bitmap: String?, mode: String?) -> Bool {
        switch (sync, bitmap) {
        case ("incremental", "bitmap0"): mode == "on-success" || mode == nil
        case ("bitmap", "bitmap0"): mode != nil
        case ("full", "bitmap0"), ("top", "bitmap0"): mode == "on-success" || mode == "always"
        case ("full", nil), ("top", nil), ("none", nil): mode == nil
        default: false
        }
    }
}
