"""Runs the steps of a chain of cases against one program and writes down what came back.

Directives (see also script.py):

    @continue                   go on with the daemon of the case before
    @args ARGUMENTS             further command-line arguments of the case's daemon (shell quoting)
    @listen-fd PATH             a listening Unix socket that the daemon inherits; `$FD` is its number
    @no-negotiate               leave the greeting and qmp_capabilities to the script
    @daemon NAME ARGUMENTS      start another daemon and talk to it (the first one is called `main`)
    @connect NAME PATH          open a further QMP connection at a socket and talk through it; shows the greeting
    @use NAME                   go back to a daemon or connection
    @disconnect                 close the connection in use

    @file NAME SIZE [OFFSET:LENGTH:BYTE ...]    create a file, filled with patterns
    @qcow2 NAME SIZE OPTION ... [OFFSET:LENGTH:BYTE ...]    create a qcow2 image (qcow2.py)
    @patch NAME OFFSET HEX      overwrite bytes of a file
    @mkdir NAME, @symlink TARGET NAME, @chmod MODE NAME, @remove NAME, @exists NAME, @await-gone NAME, @mode NAME,
    @size NAME, @bytes NAME OFFSET LENGTH, @stale-socket NAME
    @write NAME TEXT            create a file holding the text (Python escapes)

    @send TEXT                  send raw bytes (Python escapes), wait for nothing
    @sync                       send a probe; show all that arrives up to its answer
    @wire                       show the next reply byte for byte: order of members, separators
    @wire-part                  keep the order of members in the JSON filenames of the next reply
    @event NAME                 wait until such an event has arrived
    @job ID                     wait until such a job is over; shows all events that @hold-events has held back
    @hold-events                events are only shown by @event, not where they arrive
    @shape                      show only the types in the next reply
    @pick MEMBER ...            of each element of the next reply's list (or of its object), show only these members
    @no-targets                 leave the edges to targets out of the next reply, a graph
    @sorted                     show the next reply's list by name: its order means nothing
    @only VALUE ...             of the next reply's list show only elements whose `name` is one of these
    @names VALUE ...            the same, showing nothing but the names
    @schema NAME [VARIANT ...]  what query-qmp-schema says of a command or event; of unions only these variants
    @survive COMMAND            a command that ends the reference: not sent there; from the subject any reply will do

    @nbd-info [EXPORT [CONTEXT ...]], @nbd-list, @nbd-contexts EXPORT [QUERY ...]
    @nbd-options NUMBER[:PAYLOAD] ...           raw options, payload with Python escapes
    @nbd NAME EXPORT [CONTEXT ...]              open a connection for I/O
    @nbd-chunks NAME OFFSET LENGTH              how a read comes: data, holes
    @nbd-read NAME OFFSET LENGTH, @nbd-write NAME OFFSET LENGTH BYTE, @nbd-zero, @nbd-trim, @nbd-cache NAME OFFSET LENGTH
    @nbd-status NAME OFFSET LENGTH, @nbd-flush NAME, @nbd-close NAME, @nbd-gone NAME
    @nbd-address ADDRESS        where NBD connections go from here on: a path, or `port`

    @input TEXT                 standard input of the next @run
    @run ARGUMENTS              run the program to its end: status, stdout, stderr
    @run-on ARGUMENTS           the same for a program that is meant to run on: it is ended after a second
    @run-help ARGUMENTS         the same, but only the option names on stdout count
    @run-shape ARGUMENTS        the same, but only whether there is output
    @run-lines WORD ... -- ARGUMENTS    the same, but only lines equal to one of the words
    @signal NAME, @exit         send a signal to the daemon in use; await its end, show status and output
    @start, @reconnect, @closed start the case's daemon; connect anew; await the end of the connection
    @stderr                     show what the daemon in use wrote so far
    @pidfile NAME               whether the file holds the daemon's pid
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import tempfile

import daemon
import files
import introspection
import nbdsteps
import normalise
import runs

SYNC = "@sync"


class Aborted(Exception):
    """The rest of the case makes no sense."""


class Runner(files.FileSteps, nbdsteps.NBDSteps, runs.RunSteps):
    """The state of a running chain: daemons, connections, directory, transcript."""

    def __init__(self, program, is_reference):
        self.program = program
        self.is_reference = is_reference
        self.directory = tempfile.mkdtemp(prefix="cd-", dir="/tmp")
        daemon.directories.add(self.directory)
        self.port = free_port()
        self.normaliser = normalise.Normaliser(self.directory, program, self.port)
        self.daemons, self.connections, self.nbd = {}, {}, {}
        self.current = "main"
        self.nbd_address = os.path.join(self.directory, "nbd.sock")
        self.schema = None
        self.inherited = []
        self.lines = []
        self.begin_case()

    def begin_case(self):
        self.arguments, self.negotiates, self.holds_events = [], True, False
        self.held, self.seen = [], {}
        self.view, self.stdin = [], b""

    def run_case(self, case):
        """The transcript of one case: a list of (step text, lines)."""
        self.begin_case()
        entries = []
        for step in case.steps:
            self.lines = []
            try:
                self.run_step(step)
            except daemon.Gone as error:
                self.lines.append(f"({error})")
                self.report_exit(patience=2.0)
            except daemon.Silence as error:
                # Nothing more is to be had from it, and each further step would wait as long.
                self.lines.append(f"({error})")
                self.give_up()
            except Aborted as error:
                self.lines.append(f"({error})")
            except OSError as error:
                self.lines.append(f"({error.strerror or error})")
            entries.append((step.text, self.lines))
        return entries

    def finish(self):
        """Ends everything; gives what daemons that died or complained left behind."""
        self.lines = []
        for name, each in self.daemons.items():
            if each.process.poll() is None:
                each.process.terminate()
                if each.wait(5.0) is None:
                    each.kill()
                    # The reference itself hangs now and then.
                    if not self.is_reference:
                        self.lines.append(f"({name} did not end on SIGTERM)")
            elif each.process.returncode not in (0, 1) and not each.reported:
                self.lines.append(f"({name} died: {daemon.describe_status(each.process.returncode)})")
            daemon.running.discard(each)
        for each in [*self.connections.values(), *self.nbd.values()]:
            each.close()
        daemon.end_background(os.path.join(self.directory, "pid"), self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        daemon.directories.discard(self.directory)
        return self.lines

    # Plumbing

    def expand(self, text):
        text = text.replace("$DIR", self.directory).replace("$PORT", str(self.port))
        return text.replace("$FD", str(self.inherited[-1].fileno())) if self.inherited else text

    def run_step(self, step):
        if step.is_command:
            self.command(self.expand(step.text))
            return
        handler = getattr(self, "do_" + step.directive.replace("-", "_"), None)
        if handler is None:
            raise SystemExit(f"line {step.line}: unknown directive {step.text}")
        handler(self.expand(step.argument))

    def words(self, text, least=0):
        found = shlex.split(text)
        if len(found) < least:
            raise SystemExit(f"too few words in directive: {text}")
        return found

    @property
    def connection(self):
        """The connection in use; starts the case's daemon when it is the first."""
        if self.current not in self.connections:
            if self.current in self.daemons:
                raise daemon.Gone("no connection")
            self.start("main", self.arguments)
        return self.connections[self.current]

    @property
    def process(self):
        """The daemon in use."""
        if self.current not in self.daemons:
            self.start("main", self.arguments)
        return self.daemons[self.current]

    def start(self, name, arguments):
        self.daemons[name] = daemon.Daemon(
            self.program, self.directory, name, arguments, [each.fileno() for each in self.inherited])
        while self.inherited:
            self.inherited.pop().close()
        self.current = name
        self.connections[name] = daemon.Connection(self.daemons[name].path, self.daemons[name].process)
        if self.negotiates:
            self.connections[name].receive()
            self.connections[name].send(b'{"execute": "qmp_capabilities"}')
            self.connections[name].receive()

    # Commands

    def command(self, text):
        connection = self.connection
        connection.send(text.encode() + b"\n")
        while True:
            line, value = connection.receive()
            if isinstance(value, dict) and "event" in value:
                self.event(value)
                continue
            self.show_reply(line, value)
            return

    def event(self, value):
        self.seen.setdefault(self.current, []).append(value["event"])
        if self.holds_events:
            self.held.append(value)
        else:
            self.lines += normalise.render(self.normaliser.message(value))

    def show_reply(self, line, value):
        view, self.view = self.view, []
        if "wire" in view:
            self.lines.append(self.normaliser.text(line))
            return
        answer = value.get("return") if isinstance(value, dict) else None
        if answer is not None:
            if isinstance(answer, dict) and "edges" in answer and "nodes" in answer:
                answer = normalise.graph(answer)
            for each in view:
                answer = each(answer) if callable(each) else answer
            value = dict(value, **{"return": answer})
        self.lines += normalise.render(self.normaliser.message(value))
        self.normaliser.keeps_order = False

    def do_wire(self, _):
        self.view = ["wire"]

    def do_wire_part(self, _):
        """Filenames in JSON keep the order of their members in the next reply."""
        self.normaliser.keeps_order = True

    def do_shape(self, _):
        self.view.append(normalise.shape)

    def do_pick(self, text):
        wanted = self.words(text, 1)
        self.view.append(lambda answer: [pick(each, wanted) for each in answer]
                         if isinstance(answer, list) else pick(answer, wanted))

    def do_only(self, text):
        wanted = self.words(text, 1)
        self.view.append(lambda answer: sorted(
            (each for each in answer if each.get("name") in wanted), key=lambda each: each["name"]))

    def do_no_targets(self, _):
        self.view.append(lambda answer: dict(
            answer, edges=[edge for edge in answer["edges"] if edge["name"] != "target"]))

    def do_sorted(self, _):
        self.view.append(lambda answer: sorted(answer, key=lambda each: each["name"]))

    def do_names(self, text):
        wanted = self.words(text, 1)
        self.view.append(lambda answer: sorted(each["name"] for each in answer if each["name"] in wanted))

    def do_schema(self, text):
        """Asks once per case chain; other steps do not change the answer."""
        if self.schema is None:
            self.connection.send(b'{"execute": "query-qmp-schema"}')
            self.schema = introspection.Introspection(self.connection.receive()[1]["return"])
        name, *variants = self.words(text, 1)
        self.lines += self.schema.describe(name, variants)

    def do_survive(self, text):
        if not self.is_reference:
            self.command(text)
        self.lines = ["survives"]

    def do_send(self, text):
        self.connection.send(text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1"))

    def do_sync(self, _):
        self.connection.send(json.dumps({"execute": "query-version", "id": SYNC}).encode())
        while True:
            line, value = self.connection.receive()
            if isinstance(value, dict) and value.get("id") == SYNC:
                if "error" in value and value["error"]["class"] != "CommandNotFound":
                    self.show_reply(line, value)
                return
            if isinstance(value, dict) and "event" in value:
                self.event(value)
            else:
                view = list(self.view)
                self.show_reply(line, value)
                self.view = view

    def do_event(self, text):
        name = self.words(text, 1)[0]
        seen = self.seen.setdefault(self.current, [])
        while name not in seen:
            _, value = self.connection.receive()
            if "event" not in value:
                raise Aborted(f"a reply nobody waits for: {json.dumps(value)}")
            self.event(value)
        seen.remove(name)
        if self.holds_events:
            found = next(each for each in self.held if each["event"] == name)
            self.held.remove(found)
            self.lines += normalise.render(self.normaliser.message(found))

    def do_job(self, text):
        over = {"event": "JOB_STATUS_CHANGE", "data": {"status": "concluded", "id": self.words(text, 1)[0]}}
        while not any(over.items() <= each.items() for each in self.held):
            _, value = self.connection.receive()
            if "event" not in value:
                raise Aborted(f"a reply nobody waits for: {json.dumps(value)}")
            self.event(value)
        seen = self.seen.setdefault(self.current, [])
        for each in self.held:
            self.lines += normalise.render(self.normaliser.message(each))
            if each["event"] in seen:
                seen.remove(each["event"])
        self.held = []

    def do_hold_events(self, _):
        self.holds_events = True

    # Daemons and connections

    def do_continue(self, _):
        pass

    def do_args(self, text):
        self.arguments += self.words(text)

    def do_no_negotiate(self, _):
        self.negotiates = False

    def do_greeting(self, _):
        self.lines += normalise.render(self.normaliser.message(self.connection.receive()[1]))

    def do_listen_fd(self, text):
        """A listening socket that the case's daemon inherits: `$FD` in its arguments."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.directory, text))
        listener.listen()
        self.inherited.append(listener)

    def do_start(self, _):
        self.process.wait(0.0)

    def do_daemon(self, text):
        name, *arguments = self.words(text, 1)
        self.start(name, arguments)

    def do_connect(self, text):
        name, path = self.words(text, 2)
        self.connections[name] = daemon.Connection(os.path.join(self.directory, path))
        self.current = name
        self.do_greeting("")

    def do_use(self, text):
        self.current = self.words(text, 1)[0]
        if self.current not in self.connections and self.current not in self.daemons:
            raise Aborted(f"no connection {self.current}")

    def do_disconnect(self, _):
        self.connection.close()
        self.connections.pop(self.current)

    def do_closed(self, _):
        """Shows what still arrives until the daemon closes the connection."""
        try:
            while True:
                self.lines += normalise.render(self.normaliser.message(self.connection.receive()[1]))
        except daemon.Gone:
            self.lines.append("closed")

    def do_reconnect(self, _):
        self.connections[self.current] = daemon.Connection(self.process.path)
        self.connections[self.current].receive()
        self.connections[self.current].send(b'{"execute": "qmp_capabilities"}')
        self.connections[self.current].receive()

    def do_signal(self, text):
        self.process.process.send_signal(getattr(signal, "SIG" + text))

    def do_exit(self, _):
        """Shows what still arrives, then how the daemon ended and what it wrote."""
        if self.current in self.connections:
            self.do_closed("")
        self.report_exit()

    def give_up(self):
        if self.current in self.connections:
            self.connections.pop(self.current).close()
        if self.current in self.daemons:
            self.daemons[self.current].kill()
            self.daemons[self.current].reported = True

    def report_exit(self, patience=daemon.PATIENCE):
        if self.current not in self.daemons:
            return
        each = self.daemons[self.current]
        if each.reported:
            return
        status = each.wait(patience)
        self.lines.append(status or "still running")
        each.reported = status is not None
        self.do_stderr("")

    def do_stderr(self, _):
        for name, text in zip(("stdout", "stderr"), self.process.output()):
            self.lines += [f"{name}: {line}" for line in self.normaliser.program_text(text).splitlines()]

    def do_pidfile(self, text):
        path = os.path.join(self.directory, text)
        content = daemon.read_text(path)
        self.lines.append(re.sub(rf"\b{self.process.process.pid}\b", "PID", json.dumps(content)))


def pick(value, wanted):
    return {name: value[name] for name in wanted if name in value}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
