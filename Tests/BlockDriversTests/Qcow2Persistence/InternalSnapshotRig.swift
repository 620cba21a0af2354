import BlockDrivers
import BlockGraph
import IOLoop
import StorageTestSupport
import Testing

/// What a disk and its snapshots should hold: a byte for each cluster.
struct InternalSnapshotModel {
    struct Snapshot {
        var id: String
        var name: String
        var content: [UInt8]
    }

    var current: [UInt8]
    var snapshots: [Snapshot] = []

    init(clusterCount: Int) { current = [UInt8](repeating: 0, count: clusterCount) }

    /// Whether a survey found just this, in whatever order of names.
    func matches(_ survey: Qcow2Survey) -> Bool {
        survey.content == current.map(Optional.init) && survey.snapshots.map(\.id) == snapshots.map(\.id)
            && zip(survey.snapshots, snapshots).allSatisfy { found, wanted in
                found.name == wanted.name && survey.content(of: found) == wanted.content.map(Optional.init)
            }
    }
}

/// An image with snapshots over a recording disk, and what it should hold.
@GraphActor
struct InternalSnapshotRig {
    let disk: RecordingDisk
    let rig: Qcow2Rig
    let snapshots: Qcow2Snapshots
    var model: InternalSnapshotModel

    init(
        _ bytes: [UInt8], _ model: InternalSnapshotModel, in fixture: GraphFixture,
        _ configuration: Qcow2Configuration = Qcow2Configuration()
    ) async throws {
        disk = RecordingDisk(bytes)
        rig = try await Qcow2Rig(disk, in: fixture, configuration)
        snapshots = try await Qcow2Snapshots.load(rig.image)
        self.model = model
    }

    mutating func put(_ cluster: Int, _ byte: UInt8) async throws {
        try await rig.put(cluster, byte)
        model.current[cluster] = byte
    }

    mutating func drop(_ cluster: Int) async throws {
        try await rig.drop(cluster)
        model.current[cluster] = 0
    }

    mutating func create(_ name: String) async throws {
        let made = try await snapshots.create(name: name)
        model.snapshots.append(InternalSnapshotModel.Snapshot(id: made.id, name: name, content: model.current))
    }

    mutating func apply(_ place: Int) async throws {
        try await snapshots.apply(id: model.snapshots[place].id)
        model.current = model.snapshots[place].content
    }

    mutating func delete(_ place: Int) async throws {
        try await snapshots.delete(id: model.snapshots[place].id)
        model.snapshots.remove(at: place)
    }

    /// One change at random.
    mutating func step(_ random: inout SeededGenerator) async throws {
        let cluster = Int.random(in: 0..<model.current.count, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0: if model.snapshots.count < 5 { try await create("s\(Int.random(in: 0..<100, using: &random))") }
        case 1:
            if let place = model.snapshots.indices.randomElement(using: &random) { try await apply(place) }
        case 2:
            if let place = model.snapshots.indices.randomElement(using: &random) { try await delete(place) }
        case 3: try await rig.image.commit()
        case 4...6: try await drop(cluster)
        default: try await put(cluster, UInt8.random(in: 1...255, using: &random))
        }
    }

    /// Writes everything back: the image as it is on disk then.
    func clean() async throws -> Qcow2Survey {
        try await rig.image.makeClean()
        return Qcow2Survey(disk.bytes)
    }
}
