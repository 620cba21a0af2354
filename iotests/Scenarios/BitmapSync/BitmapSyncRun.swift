import IOTests
import JSON

/// A backup with a bitmap under writes, and an incremental one after it.
struct BitmapSyncRun {
    /// What goes wrong with the first backup.
    enum Failure: CaseIterable {
        /// It is cancelled when all is copied.
        case simulated
        /// A read fails in the middle of it.
        case intermediate
        /// Nothing.
        case none

        var text: String {
            switch self {
            case .simulated: "with simulated failure"
            case .intermediate: "with intermediate failure"
            case .none: "without failure"
            }
        }
    }

    private let context: ScenarioContext
    private let mode: String
    private let bitmapMode: String
    private let failure: Failure
    private var model = BitmapModel()

    init(_ context: ScenarioContext, mode: String, bitmapMode: String, failure: Failure) {
        self.context = context
        self.mode = mode
        self.bitmapMode = bitmapMode
        self.failure = failure
    }

    mutating func run() async throws {
        context.log("\n=== Mode \(mode); Bitmap Sync \(bitmapMode) \(failure.text) ===\n")
        let disk = try await BackupDisk.start(context, file: diskFile)
        try await write(0, disk)
        try await logBitmaps(disk)
        try await referenceBackup(0, disk)

        context.log("\n--- Add Bitmap ---\n")
        try await disk.server.logged(
            "block-dirty-bitmap-add",
            ["node": "drive0", "name": "bitmap0", "granularity": .integer(Disk.granularity)])
        model.addBitmap()
        try await write(1, disk)
        try await check(disk)
        try await referenceBackup(1, disk)
        // The rules of the failing disk count flushes.
        if failure == .intermediate {
            context.log()
            context.log(.object(try await disk.server.guestIO("flush")))
        }

        try await firstBackup(disk)
        try await write(3, disk)
        try await check(disk)
        try await referenceBackup(2, disk)
        try await secondBackup(disk)

        context.log("\n--- Cleanup ---\n")
        try await disk.server.logged("block-dirty-bitmap-remove", ["node": "drive0", "name": "bitmap0"])
        try await logBitmaps(disk)
        try await disk.server.quit()
        try await verify()
    }

    /// The disk's file; one that fails does so with the second read after the second flush.
    private var diskFile: JSON {
        let file = BackupDisk.file(context)
        guard failure == .intermediate else { return file }
        func rule(_ event: String, _ state: Int64) -> JSON {
            ["event": .string(event), "state": .integer(state), "new_state": .integer(state + 1)]
        }
        return [
            "driver": "blkdebug", "image": file,
            "set-state": [rule("flush_to_disk", 1), rule("flush_to_disk", 2), rule("read_aio", 3)],
            "inject-error": [
                ["event": "read_aio", "errno": 5, "state": 4, "immediately": false, "once": true]
            ],
        ]
    }

    // MARK: Steps

    private mutating func write(_ group: Int, _ disk: BackupDisk) async throws {
        context.log("\n--- Write #\(group) ---\n")
        for write in PatternWrite.groups[group] {
            context.log(write.command)
            context.log(.object(try await disk.server.guestIO(write.command)))
            model.write(write.clusters)
        }
    }

    @discardableResult
    private func logBitmaps(_ disk: BackupDisk) async throws -> JSONObject {
        let bitmaps = try await disk.bitmaps()
        context.log(["bitmaps": .object(bitmaps)], isIndented: true)
        return bitmaps
    }

    private func check(_ disk: BackupDisk) async throws {
        check(try await logBitmaps(disk), "bitmap0", expecting: model.bitmap.count)
    }

    /// Logs whether a bitmap of the disk has as many dirty clusters as it should.
    private func check(_ bitmaps: JSONObject, _ name: String?, expecting expected: Int) {
        context.log("\n= Checking Bitmap \(name ?? "(anonymous)") =")
        var actual: Int64 = -1
        if case .array(let all)? = bitmaps["drive0"] {
            for case .object(let bitmap) in all where bitmap["name"] == name.map(JSON.string) {
                if case .integer(let count)? = bitmap["count"] { actual = count / Disk.granularity }
            }
        }
        let verdict = actual == Int64(expected) ? "OK!" : "ERROR!"
        context.log("expecting \(expected) dirty sectors; have \(actual). \(verdict)")
    }

    private func referenceBackup(_ number: Int, _ disk: BackupDisk) async throws {
        context.log("\n--- Reference Backup #\(number) ---\n")
        let target = "ref_target_\(number)"
        try await disk.createTarget(target, file: "fbackup\(number)")
        let job = "ref_backup_\(number)"
        try await disk.startBackup(job, to: target, sync: "full")
        try await disk.server.waitForJob(job, "null")
        try await disk.server.loggedEvent("BLOCK_JOB_COMPLETED")
        try await disk.closeTarget(target)
    }

    private mutating func firstBackup(_ disk: BackupDisk) async throws {
        context.log("\n--- Test Backup #1 ---\n")
        try await disk.createTarget("backup_target_1", file: "bsync1")
        try await disk.startBackup(
            "backup_1", to: "backup_target_1", sync: mode,
            ["bitmap": "bitmap0", "bitmap-mode": .string(bitmapMode), "auto-finalize": false])
        if failure == .intermediate {
            try await failInTheMiddle(disk)
        } else {
            try await disk.server.waitForJob("backup_1", "pending")
            try await writeDuringBackup(disk)
        }
        try await disk.server.waitForJob("backup_1", "null")
        try await disk.closeTarget("backup_target_1")
        try await check(disk)
    }

    private mutating func failInTheMiddle(_ disk: BackupDisk) async throws {
        try await disk.server.loggedEvent("BLOCK_JOB_ERROR")
        let event = try await disk.server.event("BLOCK_JOB_COMPLETED")
        context.log(.object(OutputFilter.withoutTime(event)))
        guard case .object(let data)? = event["data"], case .integer(let offset)? = data["offset"] else {
            throw ScenarioFailure("an event without offset")
        }
        if bitmapMode == "always" { model.keepRest(of: mode, copied: Int(offset / Disk.granularity)) }
    }

    private mutating func writeDuringBackup(_ disk: BackupDisk) async throws {
        let before = model.bitmap.count
        model.beginBackup()
        try await write(2, disk)
        let bitmaps = try await logBitmaps(disk)
        check(bitmaps, "bitmap0", expecting: before)
        check(bitmaps, nil, expecting: model.duringBackup.count)
        context.log()
        let succeeds = failure == .none
        try await disk.server.logged(succeeds ? "job-finalize" : "job-cancel", ["id": "backup_1"])
        try await disk.server.loggedEvent("BLOCK_JOB_PENDING")
        try await disk.server.loggedEvent(succeeds ? "BLOCK_JOB_COMPLETED" : "BLOCK_JOB_CANCELLED")
        model.endBackup(isSynchronised: bitmapMode == "always" || bitmapMode == "on-success" && succeeds)
    }

    private mutating func secondBackup(_ disk: BackupDisk) async throws {
        context.log("\n--- Test Backup #2 ---\n")
        try await disk.createTarget("backup_target_2", file: "bsync2")
        try await disk.startBackup(
            "backup_2", to: "backup_target_2", sync: "bitmap",
            ["bitmap": "bitmap0", "bitmap-mode": .string(bitmapMode), "auto-finalize": false])
        try await disk.server.waitForJob("backup_2", "pending")
        try await disk.server.logged("job-finalize", ["id": "backup_2"])
        try await disk.server.loggedEvent("BLOCK_JOB_PENDING")
        try await disk.server.loggedEvent("BLOCK_JOB_COMPLETED")
        try await disk.server.waitForJob("backup_2", "null")
        try await disk.closeTarget("backup_target_2")
        model.beginBackup()
        model.endBackup(isSynchronised: bitmapMode != "never")
        try await check(disk)
    }

    // MARK: The images

    /// Compares the backups with full ones, after each has got the backup below it that it builds on.
    private func verify() async throws {
        context.log("\n--- Verification ---\n")
        try await rebase("bsync1", on: "fbackup0")
        let buildsOnFirst = bitmapMode == "always" || bitmapMode == "on-success" && failure == .none
        try await rebase("bsync2", on: buildsOnFirst ? "bsync1" : "fbackup0")
        try await compare("bsync1", "fbackup1", areSame: failure != .intermediate)
        try await compare("bsync2", "fbackup2", areSame: true)
        try await compare("img", "fbackup2", areSame: true)
        context.log()
    }

    private func rebase(_ image: String, on base: String) async throws {
        try await context.imageSucceeding(
            "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", context.path(base), context.path(image))
    }

    private func compare(_ first: String, _ second: String, areSame: Bool) async throws {
        let (status, output) = try await context.image("compare", context.path(first), context.path(second))
        guard status < 2 else { throw ScenarioFailure("compare: \(output)") }
        let result = status == 0 ? "Identical" : "Mismatch"
        let verdict = (status == 0) == areSame ? "OK!" : "ERROR!"
        context.log(
            "qemu_img compare \"\(context.path(first))\" \"\(context.path(second))\" ==> \(result), \(verdict)")
    }
}

/// The clusters that the bitmap should have.
private struct BitmapModel {
    private var written: Set<Int64> = []
    private(set) var bitmap: Set<Int64> = []
    private(set) var duringBackup: Set<Int64> = []
    private var hasBitmap = false

    mutating func addBitmap() { hasBitmap = true }

    mutating func write(_ clusters: ClosedRange<Int64>) {
        written.formUnion(clusters)
        if hasBitmap { bitmap.formUnion(clusters) }
        duringBackup.formUnion(clusters)
    }

    mutating func beginBackup() { duringBackup = [] }

    mutating func endBackup(isSynchronised: Bool) {
        if isSynchronised { bitmap = duringBackup }
    }

    /// A backup that synchronises in any case failed after it had copied some clusters.
    mutating func keepRest(of mode: String, copied: Int) {
        switch mode {
        case "full": bitmap = Set(Int64(copied)..<Disk.size / Disk.granularity)
        case "top": bitmap = Set(written.sorted().dropFirst(copied))
        default: bitmap = Set(bitmap.sorted().dropFirst(copied))
        }
    }
}
