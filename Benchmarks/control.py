"""Rows of the benchmark about the daemons themselves: start, memory, and commands over QMP."""

import json
import os
import socket
import subprocess
import tempfile
import time


class Monitor:
    """A daemon without disks, and a QMP connection to it."""

    def __init__(self, program, directory):
        path = os.path.join(directory, "qmp.sock")
        before = time.monotonic()
        self.process = subprocess.Popen(
            [program, "--chardev", f"socket,id=c,path={path},server=on,wait=off", "--monitor", "chardev=c"])
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() - before > 10:
                    self.process.kill()
                    raise
                time.sleep(0.0002)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.start = time.monotonic() - before
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        """What a command returns."""
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            line = self.file.readline()
            if line.startswith(b'{"return"'):
                return line
            message = json.loads(line)
            if "event" not in message:
                raise RuntimeError(f"{command}: {message}")

    def add(self, name):
        self.run("blockdev-add", **{"driver": "null-co", "node-name": name})

    def processor_time(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.run("quit")
        self.process.wait(timeout=30)
        self.file.close()
        self.socket.close()


def cheap(monitor):
    monitor.run("query-block-exports")


def nodes(monitor):
    monitor.run("query-named-block-nodes", flat=True)


def schema(monitor):
    monitor.run("query-qmp-schema")


def add_and_delete(monitor):
    monitor.add("extra")
    monitor.run("blockdev-del", **{"node-name": "extra"})


# name, nodes that are there, what is done again and again
ROWS = [
    ("QMP: query-block-exports, nothing there", 0, cheap),
    ("QMP: query-named-block-nodes, 1,000 nodes", 1000, nodes),
    ("QMP: blockdev-add and blockdev-del, 1,000 nodes", 1000, add_and_delete),
    ("QMP: query-qmp-schema", 0, schema),
]


def rate(program, count, action, seconds):
    """Actions per second, and processor time for each."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as directory:
        monitor = Monitor(program, directory)
        for index in range(count):
            monitor.add(f"n{index}")
        done = 0
        before = monitor.processor_time()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            action(monitor)
            done += 1
        duration = time.monotonic() - start
        used = monitor.processor_time() - before
        monitor.stop()
        return done / duration, used / done


def start(program):
    """Seconds from the start of the program to its greeting, and its processor time until then."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as directory:
        monitor = Monitor(program, directory)
        used = monitor.processor_time()
        monitor.stop()
        return monitor.start, used


def resident(program, count):
    """MiB that are resident with so many nodes."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as directory:
        monitor = Monitor(program, directory)
        for index in range(count):
            monitor.add(f"n{index}")
        time.sleep(0.2)
        memory = monitor.memory()
        monitor.stop()
        return memory / (1 << 20), 0


def measure(ours, theirs, wanted, rounds, seconds, report):
    """Measures the rows whose names contain `wanted`, and hands their figures to `report`, with their unit."""
    def alternate(name, unit, body):
        if wanted not in name:
            return
        results = ([], [])
        for _ in range(rounds):
            for program, list_ in zip((ours, theirs), results):
                list_.append(body(program))
        report(name, *results, unit)

    alternate("start to greeting", "s", start)
    alternate("resident memory, idle", "MiB", lambda program: resident(program, 0))
    alternate("resident memory, 1,000 nodes", "MiB", lambda program: resident(program, 1000))
    for name, count, action in ROWS:
        alternate(name, "1/s", lambda program: rate(program, count, action, seconds))
