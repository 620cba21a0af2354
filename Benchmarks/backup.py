"""Rows of the benchmark about full backups, as jobs of the two daemons, from the command to the event of their end."""

import json
import os
import socket
import subprocess
import time

from convert import MIB, Images

SIZE = 1024

# name, image to read, format of the target
ROWS = [
    ("backup raw to raw, full", "raw", "raw"),
    ("backup raw to raw, sparse", "sparse raw", "raw"),
    ("backup qcow2 to qcow2, full", "qcow2", "qcow2"),
    ("backup qcow2 to qcow2, sparse", "sparse qcow2", "qcow2"),
    ("backup raw to qcow2, full", "raw", "qcow2"),
    ("backup qcow2 to raw, full", "qcow2", "raw"),
]


class Monitor:
    """A daemon with a QMP client."""

    def __init__(self, program, path):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.set_inheritable(True)
            self.process = subprocess.Popen(
                [program, "--chardev", f"socket,id=qmp,fd={listener.fileno()},server=on,wait=off", "--monitor", "chardev=qmp"],
                pass_fds=[listener.fileno()])
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(300)
        self.socket.connect(path)
        os.unlink(path)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        return self.wait(lambda message: "event" not in message)

    def wait(self, matches):
        while True:
            message = json.loads(self.stream.readline())
            if "error" in message:
                raise RuntimeError(message["error"]["desc"])
            if matches(message):
                return message

    def processor_time(self):
        """Seconds that the daemon's threads have run, those of the kernel that work for it included."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def add(self, node, path, form):
        file = {"driver": "file", "filename": path}
        self("blockdev-add", node_name=node, **file if form == "raw" else {"driver": "qcow2", "file": file})

    def quit(self):
        try:
            self("quit")
            self.process.wait(60)
        finally:
            self.process.kill()


def run(program, images, source, form):
    """Seconds that a job takes, and those of the processors."""
    target = images.path("target")
    with open(target, "wb") as file:
        file.truncate(SIZE * MIB)
    if form == "qcow2":
        subprocess.run([images.tool, "create", "-q", "-f", "qcow2", target, str(SIZE * MIB)], check=True)
    monitor = Monitor(program, images.path("qmp"))
    try:
        monitor.add("source", *source)
        monitor.add("target", target, form)
        before = monitor.processor_time()
        start = time.monotonic()
        monitor.socket.sendall(json.dumps({"execute": "blockdev-backup", "arguments": {
            "job-id": "job", "device": "source", "target": "target", "sync": "full"}}).encode() + b"\n")
        event = monitor.wait(lambda message: message.get("event") == "BLOCK_JOB_COMPLETED")
        duration = time.monotonic() - start
        used = monitor.processor_time() - before
        if "error" in event["data"]:
            raise RuntimeError(event["data"]["error"])
    finally:
        monitor.quit()
        os.unlink(target)
    return duration, used


def measure(ours, theirs, tool, wanted, rounds, base, report):
    """Measures the rows whose names contain `wanted`, and hands the seconds of each to `report`; `tool` makes the images."""
    images = Images(tool, base)
    with images.folder:
        for name, kind, form in ROWS:
            if wanted not in name:
                continue
            images.forget(keep=kind)
            source = images.source(kind, SIZE)
            results = ([], [])
            for _ in range(rounds):
                for program, list_ in zip((ours, theirs), results):
                    list_.append(run(program, images, source, form))
            report(name, *results)
