// Manual pages sysctl(3) and <sys/sysctl.h>: https://developer.apple.com/documentation/kernel/1387446-sysctlbyname
// and Technical Q&A QA1361 (detecting the debugger), https://developer.apple.com/library/archive/qa/qa1361/_index.html
@frozen public struct extern_proc {
    public var p_flag: Int32 = 0
    public init() {}
}
@frozen public struct kinfo_proc {
    public var kp_proc = extern_proc()
    public init() {}
}
public typealias u_int = UInt32
public var CTL_KERN: Int32 { 1 }
public var KERN_PROC: Int32 { 14 }
public var KERN_PROC_PID: Int32 { 1 }
public var P_TRACED: Int32 { 0x800 }
public func sysctl(
    _ name: UnsafeMutablePointer<Int32>!, _ count: u_int, _ old: UnsafeMutableRawPointer!,
    _ oldSize: UnsafeMutablePointer<Int>!, _ new: UnsafeMutableRawPointer!, _ newSize: Int
) -> Int32 { -1 }
public func sysctlbyname(
    _ name: UnsafePointer<CChar>!, _ old: UnsafeMutableRawPointer!, _ oldSize: UnsafeMutablePointer<Int>!,
    _ new: UnsafeMutableRawPointer!, _ newSize: Int
) -> Int32 { -1 }
