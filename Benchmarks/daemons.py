"""The programs that the benchmark measures: a daemon with a QMP connection, and the load generators."""

import json
import os
import socket
import subprocess
import tempfile
import time


def base_folder():
    """Where images go: memory, if BENCH_DIR does not say otherwise, so that no disk is measured."""
    return os.environ.get("BENCH_DIR", "/dev/shm" if os.path.isdir("/dev/shm") else None)


def folder():
    """A temporary folder for images and sockets, to be used in `with`."""
    return tempfile.TemporaryDirectory(prefix="cairn-bench-", dir=base_folder())


class Daemon:
    """A storage daemon and a QMP connection to it, which has negotiated. To be used in `with`, which ends it."""

    def __init__(self, program, directory, *arguments):
        path = os.path.join(directory, "qmp.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            # The daemon inherits the listening socket: the connection is there at once, and its greeting comes without polling.
            listener.bind(path)
            listener.listen()
            listener.set_inheritable(True)
            begin = time.monotonic()
            self.process = subprocess.Popen(
                [program, "--chardev", f"socket,id=qmp,fd={listener.fileno()},server=on,wait=off",
                 "--monitor", "chardev=qmp", *arguments],
                pass_fds=[listener.fileno()])
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(300)
        self.socket.connect(path)
        os.unlink(path)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()
        self.start_time = time.monotonic() - begin
        self("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                self("quit")
            # Not wait(timeout): that looks every 50 ms only.
            self.process.wait()
        finally:
            self.process.kill()
            self.stream.close()
            self.socket.close()

    def send(self, command, **arguments):
        """Sends a command; underscores in names stand for hyphens."""
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def __call__(self, command, **arguments):
        """The line of a command's reply, not decoded, so that the client takes little time."""
        self.send(command, **arguments)
        while True:
            line = self.stream.readline()
            if line.startswith(b'{"return"'):
                return line
            message = json.loads(line)
            if "event" not in message:
                raise RuntimeError(f"{command}: {message}")

    def query(self, command, **arguments):
        """What a command returns."""
        return json.loads(self(command, **arguments))["return"]

    def wait(self, *events):
        """The first of these events that comes; replies until then are checked for errors."""
        while True:
            message = json.loads(self.stream.readline())
            if "error" in message:
                raise RuntimeError(message["error"]["desc"])
            if message.get("event") in events:
                if "error" in message["data"]:
                    raise RuntimeError(message["data"]["error"])
                return message

    def add(self, node, path, form="raw"):
        """Opens a file (form "raw"), or an image in it, as a node."""
        file = {"driver": "file", "filename": path}
        self("blockdev-add", node_name=node, **file if form == "raw" else {"driver": form, "file": file})

    def export(self, node, path, **options):
        """Starts the NBD server on a Unix socket, with a node as its export of the same name."""
        self("nbd-server-start", addr={"type": "unix", "data": {"path": path}}, max_connections=0)
        self("block-export-add", id=f"export-{node}", type="nbd", node_name=node, name=node, **options)

    def processor_time(self):
        """Seconds that the daemon's threads have run, those of the kernel that work for it included."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class NBDLoad:
    """The load generator of our own, from Benchmarks/nbd-load."""

    def __init__(self, program):
        self.program = program

    def start(self, path, export, pattern, **options):
        """The running program, for `result`. Options are its own, with underscores; one that is True has no value."""
        arguments = [self.program, "--socket", path, "--export", export, "--pattern", pattern]
        for name, value in options.items():
            arguments.append("--" + name.replace("_", "-"))
            if value is not True:
                arguments.append(str(value))
        return subprocess.Popen(arguments, stdout=subprocess.PIPE)

    @staticmethod
    def result(process):
        """What a program reports when it has ended: a dictionary of requests, seconds, iops, latency_us."""
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"nbd-load ended with {process.returncode}")
        return json.loads(output)

    def run(self, *arguments, **options):
        return self.result(self.start(*arguments, **options))

    def socket_transfer(self, seconds):
        """Blocks of 1 MiB that a bare Unix socket carries in a second."""
        output = subprocess.run([self.program, "socket-transfer", "--seconds", str(seconds)],
                                check=True, capture_output=True).stdout
        return json.loads(output)["iops"]


def fio(path, export, pattern, directory, **options):
    """What fio's NBD engine measures: requests per second, and their number."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    result = subprocess.run(
        ["fio", "--name=bench", "--ioengine=nbd", f"--uri=nbd+unix:///{export}?socket={path}", f"--rw={pattern}",
         "--group_reporting", "--randrepeat=1", "--output-format=json", *arguments],
        capture_output=True, text=True, check=True, cwd=directory)
    job = json.loads(result.stdout[result.stdout.index("{"):])["jobs"][0]
    side = job["read"] if "read" in pattern else job["write"]
    return side["iops"], side["total_ios"]
