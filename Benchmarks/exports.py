"""Rows of the benchmark about exports over NBD: raw files, qcow2 images that are allocated, new, or above a backing file.

The load comes from fio's `nbd` engine, and from nbd-load where fio is what bounds the rate.
"""

import os
import subprocess

from daemons import Daemon, fio, folder

MIB = 1 << 20

# name, disk, pattern, block size, queue depth, connections
ROWS = [
    ("4 KiB random read, depth 1", "raw", "randread", "4k", 1, 1),
    ("4 KiB random read, depth 32", "raw", "randread", "4k", 32, 1),
    ("4 KiB random read, depth 128", "raw", "randread", "4k", 128, 1),
    ("4 KiB random read, depth 32, 4 connections", "raw", "randread", "4k", 32, 4),
    ("4 KiB random write, depth 1", "raw", "randwrite", "4k", 1, 1),
    ("4 KiB random write, depth 32", "raw", "randwrite", "4k", 32, 1),
    ("4 KiB random write, depth 128", "raw", "randwrite", "4k", 128, 1),
    ("4 KiB random write, depth 32, 4 connections", "raw", "randwrite", "4k", 32, 4),
    ("1 MiB sequential read, depth 4", "raw", "read", "1m", 4, 1),
    ("1 MiB sequential write, depth 4", "raw", "write", "1m", 4, 1),
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
    ("qcow2 over a backing file: 4 KiB random read, depth 32", "backing", "randread", "4k", 32, 1),
    ("qcow2 over a backing file: 4 KiB random write, depth 1", "backing", "randwrite", "4k", 1, 1),
    ("qcow2 over a backing file: 4 KiB random write, depth 32", "backing", "randwrite", "4k", 32, 1),
]

# Rows with fio: the others say little of the daemon with it. The rows of disks that fill up are here too.
WITH_FIO = {
    "4 KiB random read, depth 1", "4 KiB random read, depth 32", "4 KiB random read, depth 128",
    "4 KiB random read, depth 32, 4 connections", "4 KiB random write, depth 1", "4 KiB random write, depth 32",
    "4 KiB random write, depth 128", "1 MiB sequential read, depth 4", "1 MiB sequential write, depth 4",
    "qcow2: 4 KiB random read, depth 32", "qcow2: 4 KiB random write, depth 32",
}

# Of images that fill up, so much is written, by disk and block size; not for a time.
AMOUNTS = {("new", "4k"): 128 * MIB, ("new", "64k"): 1024 * MIB, ("new", "1m"): 2048 * MIB, ("backing", "4k"): 8 * MIB}


def write_random(path, size):
    """A file of random bytes; `size` in bytes, a multiple of 1 MiB."""
    with open(path, "wb") as file:
        block = os.urandom(MIB)
        for _ in range(size // MIB):
            file.write(block)


def make_disk(directory, kind, tool, size):
    """The path and format of a disk of a kind."""
    raw, image = os.path.join(directory, "disk.raw"), os.path.join(directory, "disk.qcow2")
    if kind != "new":
        write_random(raw, size)
    if kind == "raw":
        return raw, "raw"
    subprocess.run({
        "qcow2": [tool, "convert", "-f", "raw", "-O", "qcow2", raw, image],
        "new": [tool, "create", "-q", "-f", "qcow2", image, "16G"],
        "backing": [tool, "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", image],
    }[kind], check=True)
    return image, "qcow2"


def measure(comparison, size):
    """Measures the rows; `size` in bytes, of the disks that are full."""
    def body(programs, row, with_fio):
        _, kind, pattern, block_size, depth, connections = row
        amount = AMOUNTS.get((kind, block_size)) if "write" in pattern else None
        with folder() as directory:
            path, form = make_disk(directory, kind, comparison.reference.tool, size)
            server = os.path.join(directory, "nbd.sock")
            with Daemon(programs.daemon, directory, "--object", "iothread,id=io0") as daemon:
                daemon.add("disk", path, form)
                daemon.export("disk", server, writable=True, iothread="io0")
                before = daemon.processor_time()
                if with_fio:
                    limits = {"io_size": amount} if amount else {"time_based": 1, "runtime": comparison.seconds}
                    rate, count = fio(server, "disk", pattern, directory, bs=block_size, iodepth=depth,
                                      numjobs=connections, **limits)
                else:
                    unit = {"4k": 4096, "64k": 65536, "1m": MIB}[block_size]
                    limits = {"requests": amount // unit} if amount else {"seconds": comparison.seconds}
                    result = comparison.load.run(server, "disk", pattern, block_size=block_size, depth=depth,
                                                 connections=connections, **limits)
                    rate, count = result["iops"], result["requests"]
                return rate, (daemon.processor_time() - before) / max(1, count)

    for row in ROWS:
        comparison.row(row[0], "1/s", lambda programs: body(programs, row, with_fio=False))
        if row[0] in WITH_FIO:
            comparison.row(row[0] + ", fio", "1/s", lambda programs: body(programs, row, with_fio=True))
        if row[0].startswith("1 MiB sequential write") and comparison.wants("bare socket"):
            rates = sorted(comparison.load.socket_transfer(comparison.seconds) for _ in range(comparison.rounds))
            comparison.note("1 MiB through a bare socket", "/s", rates[len(rates) // 2])
