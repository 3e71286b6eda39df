import Foundation

// https://developer.apple.com/documentation/uikit/uidevice
@MainActor open class UIDevice: NSObject {
    // https://developer.apple.com/documentation/uikit/uidevice/batterystate-swift.enum
    public enum BatteryState: Int, Sendable { case unknown, unplugged, charging, full }
    open class var current: UIDevice { UIDevice() }
    open var isBatteryMonitoringEnabled = false
    open var batteryLevel: Float { 0 }
    open var batteryState: BatteryState { .unknown }
}

// https://developer.apple.com/documentation/uikit/uiapplication
@MainActor open class UIApplication: NSObject {
    open class var shared: UIApplication { UIApplication() }
    // https://developer.apple.com/documentation/uikit/uiapplication/isidletimerdisabled
    open var isIdleTimerDisabled = false
}
