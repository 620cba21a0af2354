"""Runs the examples of a page of the documentation.

A page's examples run from top to bottom in one temporary directory:

- a `sh` block is typed into one shell, in which the daemon is on the PATH; a `text` block right behind it is what it
  prints;
- a `qmp` block talks to the monitor at qmp.sock, after negotiation: `->` lines are sent, `<-` lines are what must come
  back, in any order from one `->` to the next.

`...` stands for anything. A block with any other language, or with `no-run` behind it, is not run. A line
`<!-- fresh -->` stops whatever runs and begins anew in an empty directory.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from daemon import PATIENCE, program

BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$|^(?P<fresh><!-- fresh -->)$", re.M | re.S)


class PageError(AssertionError):
    """An example does not do what the page says."""


def matches(expected, actual):
    """Whether the text is the expected one, in which `...` stands for anything."""
    pattern = "".join(".*?" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", expected))
    return re.fullmatch(pattern, actual, re.S) is not None


def matches_json(expected, actual):
    """Whether the value is the expected one, in which "..." stands for any value and "...": "..." for more members."""
    if expected == "...":
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        open_ended = expected.get("...") == "..."
        names = {name for name in expected if name != "..."}
        if not (names <= set(actual) if open_ended else names == set(actual)):
            return False
        return all(matches_json(expected[name], actual[name]) for name in names)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(matches_json, expected, actual))
    if isinstance(expected, str) and isinstance(actual, str):
        return matches(expected, actual)
    return expected == actual and isinstance(expected, bool) == isinstance(actual, bool)


class Shell:
    """One shell in a directory of its own."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="cairn-page-")
        links = os.path.join(self.directory.name, ".bin")
        os.mkdir(links)
        os.symlink(program(), os.path.join(links, "cairn-storage-daemon"))
        for name in ("cairn-img", "cairn-io"):
            os.symlink(os.path.join(os.path.dirname(program()), name), os.path.join(links, name))
        # nbdsh runs the first python3 on the PATH, which must be the system's.
        environment = dict(os.environ, PATH=f"{links}:/usr/bin:{os.environ['PATH']}", HOME=self.directory.name)
        self.process = subprocess.Popen(
            ["bash"], cwd=self.directory.name, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.monitor = None

    def run(self, script):
        """Types a script; what it prints, and its exit status."""
        self.process.stdin.write(f"{script}\necho \"[done $?]\"\n")
        self.process.stdin.flush()
        watchdog = threading.Timer(PATIENCE, self.kill)
        watchdog.start()
        try:
            return self.read_output()
        finally:
            watchdog.cancel()

    def read_output(self):
        output = ""
        while not (end := re.search(r"\[done (\d+)\]\n$", output)):
            line = self.process.stdout.readline()
            if not line:
                raise PageError(f"the shell ended, or took too long:\n{output}")
            output += line
        return output[:end.start()], int(end[1])

    def talk(self, script):
        """Holds a conversation with the monitor."""
        if self.monitor is None:
            self.monitor = Monitor(os.path.join(self.directory.name, "qmp.sock"))
        for line in messages(script):
            if line.startswith("->"):
                self.monitor.settle()
                self.monitor.send(line[2:].strip())
            else:
                self.monitor.expect(json.loads(line[2:]))
        self.monitor.settle()
        if '"quit"' in script:
            self.monitor.close()
            self.monitor = None

    def close(self):
        if self.monitor is not None:
            self.monitor.close()
        self.kill()
        self.process.communicate()
        self.directory.cleanup()

    def kill(self):
        """Ends the shell and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # A daemon in the background has left the group.
        with contextlib.suppress(OSError, ValueError), open(f"{self.directory.name}/daemon.pid") as file:
            os.kill(int(file.read()), signal.SIGKILL)


def messages(script):
    """The messages of a conversation; a line that is indented belongs to the one before."""
    lines = []
    for line in script.splitlines():
        if line.startswith(("->", "<-")):
            lines.append(line)
        elif line.strip():
            lines[-1] += line
    return lines


class Monitor:
    """A monitor of the daemon, after negotiation."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.waiting = []
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.send('{"execute": "qmp_capabilities"}')
        self.expect({"return": {}})

    def send(self, text):
        json.loads(text)
        self.stream.write(text + "\n")
        self.stream.flush()

    def expect(self, message):
        """Waits for a message; those that come before it wait for others to expect them."""
        while not (found := [other for other in self.waiting if matches_json(message, other)]):
            try:
                line = self.stream.readline()
            except TimeoutError:
                line = ""
            if not line:
                raise PageError(f"no {json.dumps(message)}\nbut {json.dumps(self.waiting)}")
            self.waiting.append(json.loads(line))
        self.waiting.remove(found[0])

    def settle(self):
        """Looks whether there are replies that nobody has expected; events need not be."""
        replies = [message for message in self.waiting if "event" not in message]
        if replies:
            raise PageError(f"unexpected: {json.dumps(replies)}")
        self.waiting = []

    def close(self):
        self.stream.close()
        self.socket.close()


def run_page(path):
    """Runs the examples of a page; how many there were. A `PageError` tells of the first that fails."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    count = 0
    output = None
    shell = Shell()
    try:
        for block in BLOCK.finditer(text):
            if block["fresh"]:
                shell.close()
                shell = Shell()
                output = None
                continue
            line = text.count("\n", 0, block.start()) + 1
            words = block["info"].split()
            language = words[0] if words else ""
            if "no-run" in words or language not in ("sh", "text", "qmp"):
                output = None
                continue
            count += 1
            try:
                output = run_block(shell, language, block["body"], output)
            except (PageError, OSError, json.JSONDecodeError) as error:
                raise PageError(f"{path}:{line}: {error}") from error
    finally:
        shell.close()
    return count


def run_block(shell, language, body, output):
    """Runs one block; what it printed, for the block that shows it."""
    if language == "qmp":
        shell.talk(body)
        return None
    if language == "sh":
        output, status = shell.run(body)
        if status != 0:
            raise PageError(f"exit status {status}:\n{output}")
        return output
    if output is not None and not matches(body.strip(), output.strip()):
        raise PageError(f"expected:\n{body}\nbut got:\n{output}")
    return None
