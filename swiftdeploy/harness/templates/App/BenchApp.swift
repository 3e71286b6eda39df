import SwiftUI

@main
struct BenchApp: App {
    @StateObject private var session = BenchSession()

    var body: some Scene {
        WindowGroup {
            ContentView(session: session)
        }
    }
}
