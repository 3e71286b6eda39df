// What Apple's Foundation has and Linux' lacks; compiled into the Core ML stub, whose importers then see it.
import Foundation

extension ProcessInfo {
    // https://developer.apple.com/documentation/foundation/processinfo/thermalstate-swift.enum
    public enum ThermalState: Int, Sendable { case nominal, fair, serious, critical }
    // https://developer.apple.com/documentation/foundation/processinfo/thermalstate-swift.property
    public var thermalState: ThermalState { .nominal }
    // https://developer.apple.com/documentation/foundation/processinfo/thermalstatedidchangenotification
    public class var thermalStateDidChangeNotification: NSNotification.Name { NSNotification.Name("") }
    // https://developer.apple.com/documentation/foundation/processinfo/islowpowermodeenabled
    public var isLowPowerModeEnabled: Bool { false }
}
