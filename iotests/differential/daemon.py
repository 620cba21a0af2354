"""A daemon under test and the QMP connections to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

#: Longest wait for a reply, an event or an exit, in seconds. Nothing in a healthy run comes near it.
PATIENCE = 20.0


#: Daemons that run, and directories in use: what a run that is broken off has to clear away.
running = set()
directories = set()


def clear_away():
    """Ends what still runs; for when the test program itself is told to end."""
    for each in list(running):
        each.process.kill()
    for each in list(directories):
        shutil.rmtree(each, ignore_errors=True)


class Gone(Exception):
    """The daemon closed the connection, or never opened it."""


class Silence(Exception):
    """No answer within the patience."""


class Connection:
    """One QMP client: splits the stream into lines, keeps the bytes of each message as they came."""

    def __init__(self, path, process=None):
        self.buffer = b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket.connect(path)
                return
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if process is not None and process.poll() is not None:
                    raise Gone("the daemon exited before it listened") from error
                if time.monotonic() > deadline:
                    raise Silence(f"nothing listens on {path}") from error
                time.sleep(0.005)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone("the daemon closed the connection") from error

    def receive(self, timeout=None):
        """The next message: (line without its end, value)."""
        self.socket.settimeout(PATIENCE if timeout is None else timeout)
        while b"\n" not in self.buffer:
            try:
                more = self.socket.recv(1 << 16)
            except socket.timeout as error:
                raise Silence("no message") from error
            except OSError as error:
                raise Gone("the daemon closed the connection") from error
            if not more:
                raise Gone("the daemon closed the connection")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        return text, json.loads(text)

    def close(self):
        self.socket.close()


class Daemon:
    """A running daemon with a monitor on `<name>.qmp` of its directory."""

    def __init__(self, program, directory, name, arguments, inherited=()):
        self.path = os.path.join(directory, f"{name}.qmp")
        self.output_path = os.path.join(directory, f".{name}.stdout")
        self.error_path = os.path.join(directory, f".{name}.stderr")
        #: Whether its end has been shown.
        self.reported = False
        monitor = ["--chardev", f"socket,id=qmp,path={self.path},server=on,wait=off", "--monitor", "chardev=qmp"]
        with open(self.output_path, "wb") as output, open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(
                [program, *monitor, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                cwd=directory, start_new_session=True, pass_fds=inherited)
        running.add(self)

    def wait(self, timeout=PATIENCE):
        """The exit status in words, or None while it runs."""
        try:
            return describe_status(self.process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def output(self):
        """What it wrote so far: (stdout, stderr)."""
        return read_text(self.output_path), read_text(self.error_path)

    def kill(self):
        """Ends it for good."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        running.discard(self)


def read_text(path):
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        return file.read()


def describe_status(code):
    """An exit status as the transcripts show it."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def run_to_exit(program, arguments, directory, stdin, timeout=PATIENCE):
    """Runs the program until it ends: (status in words, stdout, stderr)."""
    try:
        done = subprocess.run(
            [program, *arguments], input=stdin, cwd=directory, capture_output=True, timeout=timeout, check=False)
        status, output, errors = describe_status(done.returncode), done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        status, output, errors = "still running", expired.stdout or b"", expired.stderr or b""
    return status, output.decode("utf-8", "backslashreplace"), errors.decode("utf-8", "backslashreplace")


def end_background(pid_path, directory):
    """Ends a daemon of this directory that went into the background and is still there."""
    try:
        pid = int(read_text(pid_path))
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            if directory in file.read():
                os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass
