"""Rows of the benchmark about the daemons themselves: start, memory, and commands over QMP."""

import os
import subprocess
import time

from daemons import Daemon, folder

MIB = 1 << 20


def add(daemon, name):
    daemon("blockdev-add", driver="null-co", node_name=name)


def cheap(daemon):
    daemon("query-block-exports")


def nodes(daemon):
    daemon("query-named-block-nodes", flat=True)


def schema(daemon):
    daemon("query-qmp-schema")


def add_and_delete(daemon):
    add(daemon, "extra")
    daemon("blockdev-del", node_name="extra")


# name, nodes that are there, what is done again and again
ROWS = [
    ("QMP: query-block-exports, nothing there", 0, cheap),
    ("QMP: query-named-block-nodes, 1,000 nodes", 1000, nodes),
    ("QMP: blockdev-add and blockdev-del, 1,000 nodes", 1000, add_and_delete),
    ("QMP: query-qmp-schema", 0, schema),
]


def rate(program, count, action, seconds):
    """Actions per second, and processor time for each."""
    with folder() as directory, Daemon(program, directory) as daemon:
        for index in range(count):
            add(daemon, f"n{index}")
        done = 0
        before = daemon.processor_time()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            action(daemon)
            done += 1
        duration = time.monotonic() - start
        return done / duration, (daemon.processor_time() - before) / done


def start(program):
    """Milliseconds from the start of the program to its greeting: the median of 11 starts."""
    times = []
    for _ in range(11):
        with folder() as directory, Daemon(program, directory) as daemon:
            times.append(daemon.start_time * 1000)
    return sorted(times)[5], 0


def start_tool(program):
    """Milliseconds from the start to the end of the image tool that has nearly nothing to do: the median of 11 runs."""
    times = []
    for _ in range(11):
        begin = time.monotonic()
        subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=True)
        times.append((time.monotonic() - begin) * 1000)
    return sorted(times)[5], 0


def resident(program, count, exports=0, iothread=False):
    """MiB that are resident with so many nodes and exports of them."""
    with folder() as directory, Daemon(program, directory) as daemon:
        for index in range(count):
            add(daemon, f"n{index}")
        options = {}
        if iothread:
            daemon("object-add", qom_type="iothread", id="io0")
            options["iothread"] = "io0"
        if exports:
            path = os.path.join(directory, "nbd.sock")
            daemon("nbd-server-start", addr={"type": "unix", "data": {"path": path}}, max_connections=0)
        for index in range(exports):
            daemon("block-export-add", type="nbd", id=f"e{index}", node_name=f"n{index}", **options)
        time.sleep(0.2)
        return daemon.memory() / MIB, 0


def resident_after_load(program, load, depth, connections, idle):
    """MiB that are resident some seconds after guests have read and written in blocks of 64 KiB."""
    with folder() as directory, Daemon(program, directory) as daemon:
        image, path = os.path.join(directory, "disk.img"), os.path.join(directory, "nbd.sock")
        with open(image, "wb") as file:
            file.truncate(256 * MIB)
        daemon.add("disk", image)
        daemon("object-add", qom_type="iothread", id="io0")
        daemon.export("disk", path, iothread="io0", writable=True)
        for pattern in "randwrite", "randread":
            load.run(path, "disk", pattern, block_size="64k", depth=depth, connections=connections, seconds=1)
        time.sleep(idle)
        return daemon.memory() / MIB, 0


def measure(comparison):
    """Measures the rows."""
    comparison.row("start to greeting", "ms", lambda programs: start(programs.daemon))
    comparison.row("start and end of the image tool", "ms", lambda programs: start_tool(programs.tool))
    comparison.row("resident memory, idle", "MiB", lambda programs: resident(programs.daemon, 0))
    comparison.row("resident memory, 100 exports", "MiB", lambda programs: resident(programs.daemon, 100, 100))
    comparison.row("resident memory, 100 exports and an iothread", "MiB",
                   lambda programs: resident(programs.daemon, 100, 100, iothread=True))
    comparison.row("resident memory, 1,000 nodes", "MiB", lambda programs: resident(programs.daemon, 1000))
    for depth, connections in (1, 1), (32, 4):
        comparison.row(f"resident memory, 10 s after load, depth {depth}, connections: {connections}", "MiB",
                       lambda programs: resident_after_load(programs.daemon, comparison.load, depth, connections, 10))
    for name, count, action in ROWS:
        comparison.row(name, "1/s", lambda programs: rate(programs.daemon, count, action, comparison.seconds))
