"""Rows of the benchmark about the daemons themselves: start, memory, and commands over QMP."""

import time

from daemons import Daemon, folder


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


def resident(program, count):
    """MiB that are resident with so many nodes."""
    with folder() as directory, Daemon(program, directory) as daemon:
        for index in range(count):
            add(daemon, f"n{index}")
        time.sleep(0.2)
        return daemon.memory() / (1 << 20), 0


def measure(comparison):
    """Measures the rows."""
    comparison.row("start to greeting", "ms", lambda programs: start(programs.daemon))
    comparison.row("resident memory, idle", "MiB", lambda programs: resident(programs.daemon, 0))
    comparison.row("resident memory, 1,000 nodes", "MiB", lambda programs: resident(programs.daemon, 1000))
    for name, count, action in ROWS:
        comparison.row(name, "1/s", lambda programs: rate(programs.daemon, count, action, comparison.seconds))
