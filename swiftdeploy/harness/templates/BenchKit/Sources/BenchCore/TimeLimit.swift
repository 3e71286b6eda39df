import Dispatch
import Foundation

/// Thrown where something took longer than it was given.
public struct TimedOut: Error, CustomStringConvertible, Equatable {
    public var seconds: Int

    public init(seconds: Int) {
        self.seconds = seconds
    }

    public var description: String { "no answer within \(seconds) s" }
}

/// Runs `body` on a new thread that may block.
///
/// The class is set before it starts, since it cannot change later: at a lower one the system may keep the thread on
/// the efficiency cores, and the CPU's figures would be theirs.
public func startThread(_ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.qualityOfService = .userInitiated
    thread.start()
}

/// A value that two threads hand over under a lock.
private final class Handover<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Result<Value, any Error>?

    func put(_ result: Result<Value, any Error>) {
        lock.withLock { value = result }
    }

    func take() -> Result<Value, any Error>? {
        lock.withLock { value }
    }
}

/// Runs `body` on a thread of its own and waits at most `seconds` for it.
///
/// A load that hangs in the Neural Engine's compiler cannot be cancelled: its thread is left behind, and the run goes
/// on with the next compute unit. Call this from a thread that may block, never from Swift's cooperative pool.
public func withTimeLimit<Value>(seconds: Int, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
    let handover = Handover<Value>()
    let done = DispatchSemaphore(value: 0)
    startThread {
        handover.put(Result { try body() })
        done.signal()
    }
    guard done.wait(timeout: .now() + .seconds(seconds)) == .success, let result = handover.take() else {
        throw TimedOut(seconds: seconds)
    }
    return try result.get()
}

/// Waits at most `seconds` for asynchronous work, from a thread that may block.
public func waitFor<Value: Sendable>(
    seconds: Int, _ work: @escaping @Sendable () async throws -> Value
) throws -> Value {
    let handover = Handover<Value>()
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        do {
            handover.put(.success(try await work()))
        } catch {
            handover.put(.failure(error))
        }
        done.signal()
    }
    guard done.wait(timeout: .now() + .seconds(seconds)) == .success, let result = handover.take() else {
        throw TimedOut(seconds: seconds)
    }
    return try result.get()
}
