// swift-tools-version: 5.9
import PackageDescription

// For Xcode 15; newer ones read Package@swift-6.0.swift, which differs in the language mode alone.
//
// BenchCore needs Foundation only, so its tests run on Linux. BenchCoreML is empty where Core ML is missing, which
// keeps one manifest for every platform.
let package = Package(
    name: "BenchKit",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "BenchKit", targets: ["BenchCore", "BenchCoreML"]),
        .executable(name: "swiftdeploy-bench", targets: ["swiftdeploy-bench"]),
    ],
    targets: [
        .target(name: "BenchCore"),
        .target(name: "BenchCoreML", dependencies: ["BenchCore"]),
        .executableTarget(name: "swiftdeploy-bench", dependencies: ["BenchCore", "BenchCoreML"]),
        .testTarget(name: "BenchCoreTests", dependencies: ["BenchCore"], resources: [.copy("Fixtures")]),
    ]
)
