#!/usr/bin/python3
"""Measures cairn-storage-daemon and qemu-storage-daemon side by side, in alternating rounds, and prints medians and ratios.

The other daemon is $REFERENCE_QEMU (a program, or a folder that has it), else the qemu-storage-daemon of PATH. Load comes
from fio's nbd engine over a Unix socket; files are in $BENCH_DIR (default /dev/shm, so that memory and not a disk is measured).
A ratio above 1 says that Cairn is faster. Beside it: the processor time that the daemons, or tools, take for a request, or
conversion. Timings depend on the machine: they inform, and decide no test.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import backup
import control
import convert

ROWS = [
    # name, set-up, rw, block size, queue depth, connections
    ("4 KiB random read, depth 1", "raw", "randread", "4k", 1, 1),
    ("4 KiB random read, depth 32", "raw", "randread", "4k", 32, 1),
    ("4 KiB random read, depth 128", "raw", "randread", "4k", 128, 1),
    ("4 KiB random read, depth 32, 4 connections", "raw", "randread", "4k", 32, 4),
    ("4 KiB random write, depth 1", "raw", "randwrite", "4k", 1, 1),
    ("4 KiB random write, depth 32", "raw", "randwrite", "4k", 32, 1),
    ("4 KiB random write, depth 128", "raw", "randwrite", "4k", 128, 1),
    ("1 MiB sequential read, depth 4", "raw", "read", "1m", 4, 1),
    ("1 MiB sequential write, depth 4", "raw", "write", "1m", 4, 1),
    ("4 KiB random write under copy-before-write, depth 1", "cbw", "randwrite", "4k", 1, 1),
    ("4 KiB random write under copy-before-write, depth 32", "cbw", "randwrite", "4k", 32, 1),
    ("qcow2: 4 KiB random read, depth 1", "qcow2", "randread", "4k", 1, 1),
    ("qcow2: 4 KiB random read, depth 32", "qcow2", "randread", "4k", 32, 1),
    ("qcow2: 4 KiB random write, depth 1", "qcow2", "randwrite", "4k", 1, 1),
    ("qcow2: 4 KiB random write, depth 32", "qcow2", "randwrite", "4k", 32, 1),
    ("qcow2: 1 MiB sequential read, depth 4", "qcow2", "read", "1m", 4, 1),
    ("qcow2: 1 MiB sequential write, depth 4", "qcow2", "write", "1m", 4, 1),
    ("qcow2, new: 4 KiB random write, depth 1", "new", "randwrite", "4k", 1, 1),
    ("qcow2, new: 4 KiB random write, depth 32", "new", "randwrite", "4k", 32, 1),
    ("qcow2, new: 4 KiB sequential write, depth 1", "new", "write", "4k", 1, 1),
    ("qcow2, new: 4 KiB sequential write, depth 32", "new", "write", "4k", 32, 1),
    ("qcow2, new: 64 KiB random write, depth 1", "new", "randwrite", "64k", 1, 1),
    ("qcow2, new: 64 KiB random write, depth 32", "new", "randwrite", "64k", 32, 1),
    ("qcow2, new: 64 KiB sequential write, depth 1", "new", "write", "64k", 1, 1),
    ("qcow2, new: 64 KiB sequential write, depth 32", "new", "write", "64k", 32, 1),
    ("qcow2, new: 1 MiB sequential write, depth 4", "new", "write", "1m", 4, 1),
    ("qcow2 over a backing file: 4 KiB random write, depth 1", "overlay", "randwrite", "4k", 1, 1),
    ("qcow2 over a backing file: 4 KiB random write, depth 32", "overlay", "randwrite", "4k", 32, 1),
]

# Of images that fill up, so much is written, by block size; not for a time.
AMOUNTS = {"4k": "128m", "64k": "1g", "1m": "2g"}


def find_reference():
    """The program to compare with, or None."""
    path = os.environ.get("REFERENCE_QEMU")
    if path and os.path.isdir(path):
        path = os.path.join(path, "qemu-storage-daemon")
    return path or shutil.which("qemu-storage-daemon")


class Daemon:
    """A daemon with a disk exported over NBD, in a folder of its own."""

    def __init__(self, program, directory, setup, size):
        self.directory = directory
        disk = os.path.join(directory, "disk.img")
        if setup != "new":
            with open(disk, "wb") as file:
                block = os.urandom(1 << 20)
                for _ in range(size >> 20):
                    file.write(block)
        self.amount = None
        if setup in ("qcow2", "new", "overlay"):
            disk = self.make_image(directory, disk, setup, size)
        arguments = [program, "--blockdev", f"file,node-name=file,filename={disk}"]
        node = "file"
        if setup in ("qcow2", "new", "overlay"):
            arguments += ["--blockdev", "qcow2,node-name=image,file=file"]
            node = "image"
        if setup == "cbw":
            scratch = os.path.join(directory, "scratch.img")
            with open(scratch, "wb") as file:
                file.truncate(size)
            arguments += [
                "--blockdev", f"file,node-name=scratch,filename={scratch}",
                "--blockdev", "copy-before-write,node-name=cbw,file=file,target=scratch",
                "--blockdev", "snapshot-access,node-name=snapshot,file=cbw",
            ]
            node = "cbw"
        self.nbd = os.path.join(directory, "nbd.sock")
        arguments += [
            "--object", "iothread,id=io0",
            "--nbd-server", f"addr.type=unix,addr.path={self.nbd}",
            "--export", f"nbd,id=e,name=disk,node-name={node},writable=on,iothread=io0",
        ]
        self.process = subprocess.Popen(arguments)
        for _ in range(200):
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(self.nbd)
                break
            except OSError:
                time.sleep(0.05)

    def make_image(self, directory, raw, setup, size):
        """A qcow2 image: all of it allocated, nothing, or nothing above a file. The path."""
        image = os.path.join(directory, "image.qcow2")
        tool = os.path.join(os.path.dirname(find_reference()), "qemu-img")
        if setup == "qcow2":
            command = [tool, "convert", "-f", "raw", "-O", "qcow2", raw, image]
        elif setup == "new":
            command = [tool, "create", "-q", "-f", "qcow2", image, "16G"]
            self.amount = AMOUNTS
        else:
            command = [tool, "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", image]
            self.amount = {"4k": "8m"}
        subprocess.run(command, check=True)
        return image

    def processor_time(self):
        """Seconds that the daemon's threads have run, those of the kernel that work for it included."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, rw, block_size, depth, connections, seconds):
        """Requests per second, and the daemon's processor time for each in seconds."""
        before = self.processor_time()
        result = subprocess.run(
            ["fio", "--name=bench", "--ioengine=nbd", f"--uri=nbd+unix:///disk?socket={self.nbd}", f"--rw={rw}",
             f"--bs={block_size}", f"--iodepth={depth}", f"--numjobs={connections}", "--group_reporting",
             "--randrepeat=1", "--output-format=json",
             *([f"--io_size={self.amount[block_size]}"] if self.amount else ["--time_based", f"--runtime={seconds}"])],
            capture_output=True, text=True, check=True, timeout=seconds + 60, cwd=self.directory)
        job = json.loads(result.stdout[result.stdout.index("{"):])["jobs"][0]
        side = job["read"] if "read" in rw else job["write"]
        return side["iops"], (self.processor_time() - before) / max(1, side["total_ios"])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit(f"bench: {self.process.args[0]} did not end")


def base_folder():
    """Where images go."""
    return os.environ.get("BENCH_DIR", "/dev/shm" if os.path.isdir("/dev/shm") else None)


def measure(program, row, seconds, size):
    """One round of a row with one program: requests per second, and processor time for one."""
    _, setup, rw, block_size, depth, connections = row
    with tempfile.TemporaryDirectory(prefix="cairn-bench-", dir=base_folder()) as directory:
        daemon = Daemon(program, directory, setup, size)
        try:
            return daemon.load(rw, block_size, depth, connections, seconds)
        finally:
            daemon.stop()


class Table:
    """The figures, printed as they come."""

    def __init__(self):
        self.figures = []
        print(f"{'':58}{'Cairn':>11}{'QEMU':>11}{'ratio':>7}   {'processor time':>20}{'ratio':>7}")

    def add(self, name, ours, theirs, unit):
        """A row: for both programs, of each round the figure ("1/s": more is better; else less) and the processor time."""
        (figure, time_), (their_figure, their_time) = (
            [statistics.median(values) for values in zip(*rounds)] for rounds in (ours, theirs))
        ratio = figure / their_figure if unit == "1/s" else their_figure / figure
        self.figures.append({
            "row": name, "unit": unit, "cairn": figure, "qemu": their_figure, "ratio": ratio,
            "cairn processor time": time_, "qemu processor time": their_time})
        if unit == "1/s":
            columns = f"{figure:9.0f}/s{their_figure:9.0f}/s{ratio:7.2f}"
            columns += f"   {time_ * 1e6:7.1f} us {their_time * 1e6:7.1f} us"
        else:
            columns = f"{figure:8.3g} {unit:3}{their_figure:7.3g} {unit:3}{ratio:7.2f}"
            columns += f"   {time_:7.2f} s  {their_time:7.2f} s "
        columns += f"{their_time / time_:7.2f}" if time_ else ""
        print(f"{name:58}{columns}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subject", required=True, help="path of cairn-storage-daemon, a release build, beside cairn-img")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    parser.add_argument("--size", type=int, default=256, help="of the disk in MiB")
    parser.add_argument("--filter", default="", help="rows whose names contain this")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    reference = find_reference()
    if not reference:
        sys.exit("bench: no qemu-storage-daemon: set REFERENCE_QEMU to its folder")

    table = Table()
    for row in ROWS:
        if options.filter not in row[0]:
            continue
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(measure(options.subject, row, options.seconds, options.size << 20))
            theirs.append(measure(reference, row, options.seconds, options.size << 20))
        table.add(row[0], ours, theirs, "1/s")
    tools = [os.path.join(os.path.dirname(path), name)
             for path, name in ((options.subject, "cairn-img"), (reference, "qemu-img"))]
    convert.measure(
        *tools, options.filter, options.rounds, base_folder(),
        lambda name, ours, theirs: table.add(name, ours, theirs, "s"))
    backup.measure(
        options.subject, reference, tools[1], options.filter, options.rounds, base_folder(),
        lambda name, ours, theirs: table.add(name, ours, theirs, "s"))
    control.measure(options.subject, reference, options.filter, options.rounds, options.seconds, table.add)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(table.figures, file, indent=2)


if __name__ == "__main__":
    main()
