#if canImport(CoreML)
    import BenchCore
    import CoreML
    import Foundation
    #if canImport(Darwin)
        import Darwin
    #endif
    #if canImport(UIKit)
        import UIKit
    #endif

    /// The device's thermal state, with what came and went between two questions.
    final class ProcessThermalMonitor: ThermalMonitor, @unchecked Sendable {
        private let lock = NSLock()
        private var maximum: BenchCore.ThermalState
        private var observer: (any NSObjectProtocol)?

        init() {
            maximum = Self.now()
            observer = NotificationCenter.default.addObserver(
                forName: ProcessInfo.thermalStateDidChangeNotification, object: nil, queue: nil
            ) { [weak self] _ in self?.note() }
        }

        deinit {
            if let observer { NotificationCenter.default.removeObserver(observer) }
        }

        func state() -> BenchCore.ThermalState { Self.now() }

        func drainMaximum() -> BenchCore.ThermalState {
            lock.withLock {
                let hottest = max(maximum, Self.now())
                maximum = Self.now()
                return hottest
            }
        }

        private func note() {
            lock.withLock { maximum = max(maximum, Self.now()) }
        }

        private static func now() -> BenchCore.ThermalState {
            switch ProcessInfo.processInfo.thermalState {
            case .nominal: return .nominal
            case .fair: return .fair
            case .serious: return .serious
            case .critical: return .critical
            @unknown default: return .critical
            }
        }
    }

    /// What this process runs on.
    func currentDevice() -> DeviceFacts {
        let information = ProcessInfo.processInfo
        let version = information.operatingSystemVersion
        let simulated = information.environment["SIMULATOR_MODEL_IDENTIFIER"]
        #if canImport(UIKit)
            let (kind, system): (DeviceFacts.Kind, String) = (simulated == nil ? .phone : .simulator, "iOS")
            let model = simulated ?? machine()
        #else
            let (kind, system): (DeviceFacts.Kind, String) = (.mac, "macOS")
            let model = systemText("hw.model") ?? machine()
        #endif
        return DeviceFacts(
            kind: kind, model: model, system: system,
            osVersion: "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)",
            osBuild: systemText("kern.osversion") ?? "", processors: information.activeProcessorCount,
            memoryBytes: information.physicalMemory)
    }

    /// Power mode and battery. A Mac's battery is not asked: it takes IOKit, and a Mac is measured on its charger.
    func currentPower() -> PowerReading {
        let lowPower = ProcessInfo.processInfo.isLowPowerModeEnabled
        #if canImport(UIKit)
            let read = { @MainActor in batteryReading(lowPower) }
            // UIDevice belongs to the main thread, and a run does not.
            if Thread.isMainThread { return MainActor.assumeIsolated(read) }
            return DispatchQueue.main.sync { MainActor.assumeIsolated(read) }
        #else
            return PowerReading(lowPowerMode: lowPower)
        #endif
    }

    #if canImport(UIKit)
        @MainActor private func batteryReading(_ lowPower: Bool) -> PowerReading {
            let device = UIDevice.current
            device.isBatteryMonitoringEnabled = true
            let level = device.batteryLevel
            let state = device.batteryState
            return PowerReading(
                lowPowerMode: lowPower, batteryPercent: level < 0 ? nil : Int((level * 100).rounded()),
                charging: state == .unknown ? nil : state != .unplugged)
        }
    #endif

    /// The build and the debugger, which decide whether figures mean anything.
    public func currentProcess(host: String) -> ProcessFacts {
        ProcessFacts(debugBuild: ProcessFacts.isDebugBuild, debuggerAttached: isTraced(), host: host)
    }

    private func isTraced() -> Bool {
        var name: [Int32] = [CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()]
        var process = kinfo_proc()
        var size = MemoryLayout<kinfo_proc>.stride
        guard sysctl(&name, u_int(name.count), &process, &size, nil, 0) == 0 else { return false }
        return process.kp_proc.p_flag & P_TRACED != 0
    }

    private func systemText(_ name: String) -> String? {
        var size = 0
        guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        guard sysctlbyname(name, &bytes, &size, nil, 0) == 0 else { return nil }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    private func machine() -> String {
        var names = utsname()
        uname(&names)
        return withUnsafeBytes(of: &names.machine) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
#endif
