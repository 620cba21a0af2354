"""Rows of the benchmark about live backups: guest writes under copy-before-write, and reading the point in time.

First touch: each cluster is written once, in random order, so that each write copies 64 KiB. Second touch: all clusters have been
copied before. The reader beside the guest reads the whole point in time over NBD, over and over. Rates and latencies come from
nbd-load; the writer beside the reader of a row is fio with a fixed rate, so that both daemons have the same work.
"""

import os
import subprocess
import time

from daemons import Daemon, folder
from exports import MIB, write_random

SIZE = 1024 * MIB
CLUSTER = 64 << 10
PACED = 2000

BREAK_GUEST, BREAK_SNAPSHOT = "break-guest-write", "break-snapshot"

# setup, target, on-cbw-error, whether a reader is beside the guest
GUEST_ROWS = [
    ("copy-before-write", "raw", BREAK_GUEST, False),
    ("copy-before-write, break-snapshot", "raw", BREAK_SNAPSHOT, False),
    ("copy-before-write to qcow2", "qcow2", BREAK_GUEST, False),
    ("copy-before-write with a reader", "raw", BREAK_GUEST, True),
    ("copy-before-write with a reader, break-snapshot", "raw", BREAK_SNAPSHOT, True),
]

# block size, queue depth, whether every other cluster was written before, whether a guest writes beside the reader
READER_ROWS = [
    ("64k", 8, False, False),
    ("64k", 8, True, False),
    ("64k", 8, True, True),
    ("64k", 32, True, True),
    ("1m", 4, False, False),
    ("1m", 4, True, False),
    ("1m", 4, True, True),
]


class Fleecing:
    """A daemon with a disk that a guest uses through copy-before-write, and its point in time, both exported. For `with`."""

    def __init__(self, program, tool, disk, target, on_error):
        self.program, self.tool, self.disk, self.target, self.on_error = program, tool, disk, target, on_error

    def __enter__(self):
        self.folder = folder()
        directory = self.folder.__enter__()
        scratch = os.path.join(directory, "scratch")
        subprocess.run([self.tool, "create", "-q", "-f", self.target, scratch, str(SIZE)], check=True)
        self.daemon = Daemon(self.program, directory, "--object", "iothread,id=io0").__enter__()
        self.daemon.add("file", self.disk)
        self.daemon.add("scratch", scratch, self.target)
        self.daemon("blockdev-add", driver="copy-before-write", node_name="guest", file="file", target="scratch",
                    on_cbw_error=self.on_error)
        self.daemon("blockdev-add", driver="snapshot-access", node_name="snapshot", file="guest")
        self.server = os.path.join(directory, "nbd.sock")
        self.daemon("nbd-server-start", addr={"type": "unix", "data": {"path": self.server}}, max_connections=0)
        for node, writable in (("guest", True), ("snapshot", False)):
            self.daemon("block-export-add", id=node, type="nbd", node_name=node, name=node, writable=writable,
                        iothread="io0")
        return self

    def __exit__(self, *exception):
        self.daemon.__exit__(*exception)
        self.folder.__exit__(*exception)

    def touch(self, load, step=CLUSTER, depth=32):
        """Writes once to each step of the disk; what nbd-load reports."""
        return load.run(self.server, "guest", "randwrite", block_size=4096, step=step, depth=depth, once=True)


def stop(client):
    """Ends a client in the middle of its work."""
    client.kill()
    client.communicate()
    # QEMU 11.1 asserts that no client is connected when it quits.
    time.sleep(0.2)


def measure_guest(comparison, disk, setup, depth):
    """Rates and latencies of first and second touch, one row for each."""
    name, target, on_error, with_reader = setup
    touches = ("first touch", "second touch")
    names = [f"{name}: 4 KiB write, {touch}, depth {depth}{what}" for touch in touches for what in ("", ", p99 latency")]

    def body(programs):
        figures = []
        with Fleecing(programs.daemon, comparison.reference.tool, disk, target, on_error) as fleecing:
            for touch in touches:
                reader = with_reader and comparison.load.start(
                    fleecing.server, "snapshot", "read", block_size="1m", depth=2, seconds=600)
                if reader:
                    time.sleep(0.05)
                before = fleecing.daemon.processor_time()
                if touch == touches[0]:
                    result = fleecing.touch(comparison.load, depth=depth)
                else:
                    result = comparison.load.run(fleecing.server, "guest", "randwrite", block_size=4096, step=CLUSTER,
                                                 depth=depth, seconds=comparison.seconds)
                used = 0 if reader else (fleecing.daemon.processor_time() - before) / max(1, result["requests"])
                if reader:
                    stop(reader)
                figures += [(result["iops"], used), (result["latency_us"]["p99"], 0)]
        return figures

    comparison.rows(names, ["1/s", "us"] * 2, body)


def measure_reader(comparison, disk, row):
    block_size, depth, is_fragmented, with_guest = row
    name = f"snapshot-access: {block_size.replace('k', ' KiB').replace('m', ' MiB')} sequential read, depth {depth}"
    name += ", fragmented" * is_fragmented + f", beside {PACED} writes/s" * with_guest

    def body(programs):
        with Fleecing(programs.daemon, comparison.reference.tool, disk, "raw", BREAK_GUEST) as fleecing:
            if is_fragmented:
                fleecing.touch(comparison.load, step=2 * CLUSTER)
            guest = with_guest and subprocess.Popen(
                ["fio", "--name=guest", "--ioengine=nbd", f"--uri=nbd+unix:///guest?socket={fleecing.server}",
                 "--rw=randwrite", "--bs=4k", f"--rate_iops={PACED}", "--time_based", "--runtime=600"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=os.path.dirname(fleecing.server))
            if guest:
                time.sleep(0.5)
            before = fleecing.daemon.processor_time()
            result = comparison.load.run(fleecing.server, "snapshot", "read", block_size=block_size, depth=depth,
                                         seconds=comparison.seconds)
            used = fleecing.daemon.processor_time() - before
            if guest:
                stop(guest)
            return result["iops"], 0 if guest else used / max(1, result["requests"])

    comparison.row(name, "1/s", body)


def measure_nbdcopy(comparison, disk):
    def body(programs):
        with Fleecing(programs.daemon, comparison.reference.tool, disk, "raw", BREAK_GUEST) as fleecing:
            fleecing.touch(comparison.load, step=2 * CLUSTER)
            before, start = fleecing.daemon.processor_time(), time.monotonic()
            subprocess.run(["nbdcopy", f"nbd+unix:///snapshot?socket={fleecing.server}", "null:"], check=True)
            return time.monotonic() - start, fleecing.daemon.processor_time() - before

    comparison.row("snapshot-access: nbdcopy of 1 GiB, fragmented", "s", body)


def measure(comparison):
    """Measures the rows."""
    with folder() as directory:
        disk = os.path.join(directory, "disk")
        write_random(disk, SIZE)
        for setup in GUEST_ROWS:
            for depth in (1, 32):
                measure_guest(comparison, disk, setup, depth)
        for row in READER_ROWS:
            measure_reader(comparison, disk, row)
        measure_nbdcopy(comparison, disk)
