"""Rows of the benchmark about several I/O threads: each serves an export of its own, with a client of its own.

The rates depend on how many processors there are, which the clients need, too. Whether threads wait for each other does not:
the other figure is the number of futex(2) calls for 1,000 requests, which a thread makes when it waits for a lock that another
one holds, and when it wakes such a thread. strace counts them, as the parent of the daemon, for which no special rights are
needed; its filter (--seccomp-bpf) stops the daemon at these calls only. Calls of a run without requests are subtracted. Without
strace these rows are left out.
"""

import os
import re
import shutil

from daemons import Daemon, folder
from exports import write_random

MIB = 1 << 20
THREADS = (1, 2, 4)
# name, pattern
LOADS = [
    ("4 KiB random read, depth 32", "randread"),
    ("4 KiB random write, depth 32", "randwrite"),
]


def threads_text(count):
    return f"{count} I/O thread{'s' if count > 1 else ''}"


def run(load, program, directory, threads, pattern, size, **limits):
    """Loads as many exports as there are threads at the same time: the sum of the rates, requests, and processor time."""
    objects = [argument for number in range(threads) for argument in ("--object", f"iothread,id=io{number}")]
    server = os.path.join(directory, "nbd.sock")
    with Daemon(program, directory, *objects) as daemon:
        for number in range(threads):
            path = os.path.join(directory, f"disk{number}.raw")
            if not os.path.exists(path):
                write_random(path, size)
            daemon.add(f"disk{number}", path)
            if number == 0:
                daemon.export("disk0", server, writable=True, iothread="io0")
            else:
                daemon("block-export-add", id=f"export{number}", type="nbd", node_name=f"disk{number}",
                       name=f"disk{number}", writable=True, iothread=f"io{number}")
        before = daemon.processor_time()
        clients = [load.start(server, f"disk{number}", pattern, depth=32, **limits)
                   for number in range(threads)] if limits else []
        results = [load.result(client) for client in clients]
        used = daemon.processor_time() - before
    requests = sum(result["requests"] for result in results)
    return sum(result["iops"] for result in results), requests, used


def futex_calls(load, program, directory, threads, pattern, size, **limits):
    """How many futex calls the daemon makes from start to end, and the requests."""
    counts = os.path.join(directory, "counts")
    traced = os.path.join(directory, "traced")
    with open(traced, "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as script:
        script.write(f'#!/bin/sh\nexec strace -f -c --seccomp-bpf -e trace=futex -o {counts} {program} "$@"\n')
    _, requests, _ = run(load, traced, directory, threads, pattern, size, **limits)
    with open(counts) as file:
        found = re.search(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*\bfutex$", file.read(), re.MULTILINE)
    return int(found.group(1)) if found else 0, requests


def measure(comparison, size=64 * MIB):
    """Measures the rows; `size` in bytes, of each disk."""
    def rates(programs, threads, pattern):
        with folder() as directory:
            rate, requests, used = run(
                comparison.load, programs.daemon, directory, threads, pattern, size, seconds=comparison.seconds)
            return rate, used / max(1, requests)

    def contention(programs, threads, pattern):
        with folder() as directory:
            arguments = (comparison.load, programs.daemon, directory, threads, pattern, size)
            idle, _ = futex_calls(*arguments)
            calls, requests = futex_calls(*arguments, requests=100_000)
            return max(0, calls - idle) / requests * 1000, 0

    for name, pattern in LOADS:
        for threads in THREADS:
            text = f"{threads_text(threads)}, an export each: {name}"
            comparison.row(text, "1/s", lambda programs: rates(programs, threads, pattern))
            if shutil.which("strace"):
                comparison.row(f"{text}, futex calls of 1,000 requests", "",
                               lambda programs: contention(programs, threads, pattern))
