import StorageDaemon

@main
enum Main {
    static func main() { DaemonMain.run() }
}
