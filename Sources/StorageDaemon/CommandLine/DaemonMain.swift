import BlockJobs
import CLinuxShims
import Glibc
import IOLoop
import Logging
import QAPI
import QMPSchema
import QMPServer

/// The daemon as a program.
public enum DaemonMain {
    /// Runs the process from the command line to its end; does not return. Called on the main thread before there are others.
    public static func run() -> Never {
        switch scanCommandLine() {
        case .failure: exit(1)
        case .help: finish(printing: helpText())
        case .version: finish(printing: versionText())
        case .options(let options): run(options)
        }
    }

    private static func finish(printing text: String) -> Never {
        print(text, terminator: "")
        exit(0)
    }

    private static func run(_ options: [GivenOption]) -> Never {
        signal(SIGPIPE, SIG_IGN)
        cairn_buffer_output_by_line()
        var channel: Int32?
        if options.contains(where: { $0.option == .daemonize }) {
            let result = cairn_daemonize()
            if result < 0 {
                printError("Could not daemonize: \(Errno(rawValue: -result))")
                exit(1)
            }
            channel = result
        }
        let signals: SignalSource
        do {
            signals = try SignalSource([SIGINT, SIGTERM, SIGHUP])
        } catch {
            printError("Could not wait for signals: \(error)")
            exit(1)
        }
        GraphActor.spawn { [channel] in
            exit(await serve(options, signals, channel: channel))
        }
        IOLoop.main.run()
        exit(0)
    }

    /// Starts, serves until somebody ends it, and cleans up; the exit status.
    @GraphActor
    private static func serve(_ options: [GivenOption], _ signals: SignalSource, channel: Int32?) async -> Int32 {
        let daemon = StorageDaemon()
        let server = QMPServer(
            commands: QMPDispatcher(daemon), version: StorageDaemon.version.encodeMembers(),
            logger: Logger(label: "cairn.qmp") { _ in StandardErrorLog() })
        daemon.jobs.turn = { await server.exclusively($0) }
        daemon.events.subscribe { event in
            // What happens on the control plane is told before the reply of the command that caused it.
            if IOLoop.current === IOLoop.main {
                GraphActor.assumeIsolated { server.emit(event.name, event.data) }
            } else {
                GraphActor.spawn { server.emit(event.name, event.data) }
            }
        }
        GraphActor.spawn {
            _ = try? await signals.next()  // Whatever woke it, the daemon ends.
            daemon.requestQuit()
        }
        let startup = Startup(daemon: daemon, server: server)
        do throws(StartupError) {
            try await startup.run(options)
        } catch {
            printError(error.message)
            await daemon.shutDown()
            await server.shutdown()
            return 1
        }
        if let channel { cairn_daemon_ready(channel) }
        await daemon.waitForQuit()
        await daemon.shutDown()
        await server.shutdown()
        await startup.pidFile?.remove()
        return 0
    }
}
