// swift-tools-version: 6.2
import PackageDescription

/// Compiler settings of every Swift target.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

/// A library target in `Sources/`.
func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], plugins: [Target.PluginUsage] = []
) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings, plugins: plugins)
}

/// An executable target in `Sources/`.
func executable(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// The Swift Testing target of one module, in `Tests/<name>Tests`.
func tests(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: [.target(name: name), "StorageTestSupport"] + dependencies,
        resources: resources, swiftSettings: settings)
}

let package = Package(
    name: "cairn",
    products: [
        .executable(name: "cairn-storage-daemon", targets: ["cairn-storage-daemon"]),
        .executable(name: "cairn-img", targets: ["cairn-img"]),
        .executable(name: "cairn-io", targets: ["cairn-io"]),
        .library(name: "QMPClient", targets: ["QMPClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // C libraries and the few C lines that Swift cannot express.
        .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
        .systemLibrary(name: "CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
        .systemLibrary(name: "CNettle", pkgConfig: "nettle", providers: [.apt(["nettle-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CLinuxShims"),

        // Foundations.
        library("JSON", ["CJansson"]),
        library("IOLoop", ["CLiburing", "CLinuxShims"]),

        library("Compression", ["CZlib", "CZstd"]),

        // Codecs: pure value types.
        library("QMPProtocol", ["JSON", "QAPI"]),
        library("NBDProtocol"),
        library("Qcow2Format"),

        // The schema and what is generated from it.
        library("QAPI", ["JSON"]),
        library("QAPIGenerator", ["JSON"]),
        executable("qapi-generator", ["QAPIGenerator", argumentParser]),
        .plugin(name: "QAPIPlugin", capability: .buildTool(), dependencies: ["qapi-generator"]),
        library("QMPSchema", ["QAPI", "JSON"], plugins: ["QAPIPlugin"]),

        // The block layer.
        library("BlockGraph", ["CNettle", "IOLoop"]),
        library(
            "BlockDrivers",
            ["BlockGraph", "CLinuxShims", "Compression", "IOLoop", "JSON", "QAPI", "QMPSchema", "Qcow2Format"]),
        library(
            "BlockNodes",
            [
                "BlockDrivers", "BlockGraph", "IOLoop", "JSON", "QAPI", "QMPProtocol", "QMPSchema", "Qcow2Format",
            ]),
        library("BlockJobs", ["BlockDrivers", "BlockGraph", "BlockNodes", "IOLoop"]),
        library("IOCommands", ["BlockGraph", "CLinuxShims", "IOLoop"]),

        // Servers and clients.
        library("BlockExports", ["BlockGraph", "IOLoop", "NBDProtocol", logging]),
        library("QMPServer", ["IOLoop", "JSON", "QAPI", "QMPProtocol", logging]),
        library("QMPClient", ["IOLoop", "JSON", "QAPI", "QMPProtocol", "QMPSchema"]),

        // The daemon.
        library(
            "StorageDaemon",
            [
                "BlockDrivers", "BlockExports", "BlockGraph", "BlockJobs", "BlockNodes", "CLinuxShims", "Compression",
                "IOCommands", "IOLoop", "JSON", "QAPI", "QMPProtocol", "QMPSchema", "QMPServer", logging,
            ]),
        executable("cairn-storage-daemon", ["StorageDaemon"]),
        executable(
            "cairn-io",
            [
                "BlockDrivers", "BlockGraph", "BlockNodes", "CLinuxShims", "IOCommands", "IOLoop", "ImageTool", "JSON",
                "QAPI",
                "QMPSchema",
            ]),

        // The image utility.
        library(
            "ImageTool",
            [
                "BlockDrivers", "BlockGraph", "BlockNodes", "CLinuxShims", "Compression", "IOLoop", "JSON", "QAPI",
                "QMPProtocol",
                "QMPSchema",
            ]),
        executable("cairn-img", ["ImageTool"]),

        // Scenarios with golden files, and their runner.
        .target(
            name: "IOTests", dependencies: ["CLinuxShims", "IOLoop", "JSON", "QAPI", "QMPClient", "QMPProtocol"],
            path: "iotests/Framework", swiftSettings: settings),
        .target(
            name: "IOTestScenarios", dependencies: ["IOTests", "JSON"], path: "iotests/Scenarios",
            swiftSettings: settings),
        .executableTarget(
            name: "cairn-iotests", dependencies: ["IOLoop", "IOTests", "IOTestScenarios", argumentParser],
            path: "iotests/cairn-iotests", swiftSettings: settings),

        // The benchmark's own load generator.
        .executableTarget(
            name: "nbd-load", dependencies: ["CLiburing", "NBDProtocol", argumentParser], path: "Benchmarks/nbd-load",
            swiftSettings: settings),

        // Tests.
        .target(name: "CCallCounts", path: "Tests/CCallCounts"),
        .target(
            name: "StorageTestSupport", dependencies: ["CCallCounts", "IOLoop", "NBDProtocol"],
            path: "Tests/StorageTestSupport", swiftSettings: settings),
        .target(
            name: "BlockTestSupport", dependencies: ["BlockGraph", "IOLoop"], path: "Tests/BlockTestSupport",
            swiftSettings: settings),
        tests("JSON", resources: [.copy("Fixtures")]),
        tests("IOLoop", ["CLinuxShims"]),
        tests("Compression", ["BlockTestSupport"]),
        tests("QMPProtocol", ["JSON", "QAPI"], resources: [.copy("Fixtures")]),
        tests("NBDProtocol"),
        tests("Qcow2Format"),
        tests("QAPI", ["JSON"]),
        tests("QAPIGenerator", ["JSON"]),
        tests("QMPSchema", ["QAPI", "JSON"]),
        tests("BlockGraph", ["BlockTestSupport", "IOLoop"]),
        tests(
            "BlockDrivers",
            ["BlockGraph", "BlockTestSupport", "Compression", "IOLoop", "JSON", "QAPI", "QMPSchema", "Qcow2Format"],
            resources: [.copy("Fixtures")]),
        tests(
            "BlockNodes",
            ["BlockDrivers", "BlockGraph", "BlockTestSupport", "IOLoop", "JSON", "QAPI", "QMPSchema", "Qcow2Format"]),
        tests(
            "BlockJobs",
            ["BlockDrivers", "BlockGraph", "BlockNodes", "BlockTestSupport", "IOLoop", "JSON", "QAPI", "QMPSchema"]),
        tests("IOCommands", ["BlockDrivers", "BlockGraph", "IOLoop"], resources: [.copy("Fixtures")]),
        tests("BlockExports", ["BlockGraph", "BlockDrivers", "IOLoop", "NBDProtocol"]),
        tests("QMPServer", ["IOLoop", "JSON", "QAPI", "QMPProtocol", logging]),
        tests("QMPClient", ["IOLoop", "JSON", "QAPI", "QMPProtocol", "QMPSchema", "QMPServer", logging]),
        tests(
            "StorageDaemon",
            [
                "BlockDrivers", "BlockGraph", "BlockTestSupport", "IOLoop", "JSON", "NBDProtocol", "QAPI", "QMPClient",
                "QMPProtocol", "QMPSchema", "cairn-storage-daemon",
            ]),
        tests("IOTests", ["JSON"]),
        .testTarget(name: "NBDLoadTests", dependencies: ["nbd-load"], swiftSettings: settings),
        tests("ImageTool", ["IOLoop"]),
    ]
)
