"""Rows of the benchmark about dirty bitmaps: memory and time, on a disk of 64 TiB with a bit for each 64 KiB."""

import os
import random
import time

from daemons import Daemon, folder
from nbd import Client

SIZE = 64 << 40
GRANULE = 65536
SCATTERED = (1000, 100_000, 1_000_000)


class Disk(Daemon):
    """A daemon with a disk that stores nothing, and an NBD connection for writes to it. To be used in `with`."""

    def __init__(self, program, directory):
        super().__init__(program, directory)
        self("blockdev-add", driver="null-co", node_name="disk", size=SIZE)
        self.path = os.path.join(directory, "nbd.sock")
        self.export("disk", self.path, writable=True)
        self.client = Client(self.path, "disk")
        self.numbers = random.Random(1)
        self.client.write([0], bytes(512))

    def __exit__(self, *error):
        self.client.close()
        super().__exit__(*error)

    def make(self, name, granularity=GRANULE):
        self("block-dirty-bitmap-add", node="disk", name=name, granularity=granularity)

    def disable(self, name):
        self("block-dirty-bitmap-disable", node="disk", name=name)

    def clear(self, name):
        self("block-dirty-bitmap-clear", node="disk", name=name)

    def merge(self, target, *sources):
        self("block-dirty-bitmap-merge", node="disk", target=target, bitmaps=list(sources))

    def scatter(self, count):
        """Writes to so many places all over the disk."""
        self.client.write([self.numbers.randrange(SIZE // GRANULE) * GRANULE for _ in range(count)], bytes(512), batch=512)

    def fill(self, name):
        """Makes a bitmap dirty throughout."""
        self.disable(name)
        self.make("coarse", 1 << 31)
        self.client.write(range(0, SIZE, 1 << 31), bytes(512), batch=512)
        self.merge(name, "coarse")
        self("block-dirty-bitmap-remove", node="disk", name="coarse")

    def query(self, times):
        for _ in range(times):
            self("query-named-block-nodes", flat=True)

    def time(self, body):
        """Milliseconds, and seconds of the processors."""
        before = self.processor_time()
        start = time.monotonic()
        body()
        return (time.monotonic() - start) * 1000, self.processor_time() - before

    def growth(self, body):
        """MiB of memory that are resident afterwards and were not before."""
        before = self.memory()
        body()
        return max(self.memory() - before, 4096) / (1 << 20), 0


def empty(disk):
    """Rows: name, unit, figure and processor time."""
    yield "memory of 16 empty ones", "MiB", disk.growth(lambda: [disk.make(f"b{index}") for index in range(16)])


def scattered(disk, count):
    bits = f"{count:,} bits"
    disk.make("b")
    yield f"memory, {bits} anywhere", "MiB", disk.growth(lambda: disk.scatter(count))
    yield f"100 queries of the node, {bits}", "ms", disk.time(lambda: disk.query(100))
    disk.disable("b")
    disk.make("c")
    disk.scatter(count)
    disk.disable("c")
    yield f"merge, {bits} into {bits}", "ms", disk.time(lambda: disk.merge("c", "b"))
    disk.make("d")
    yield f"merge, {bits} into an empty one", "ms", disk.time(lambda: disk.merge("d", "b"))
    disk.make("e", 1 << 20)
    yield f"merge, {bits} into one of 1 MiB granules", "ms", disk.time(lambda: disk.merge("e", "b"))
    yield f"clear, {bits}", "ms", disk.time(lambda: disk.clear("c"))
    disk("block-export-add", type="nbd", id="walk", node_name="disk", name="walk", bitmaps=["b"])
    walker = Client(disk.path, "walk", "qemu:dirty-bitmap:b")
    yield f"all extents over NBD, {bits}", "ms", disk.time(walker.walk)
    walker.close()


def full(disk):
    disk.make("b")
    yield "memory, full", "MiB", disk.growth(lambda: disk.fill("b"))
    yield "100 queries of the node, full", "ms", disk.time(lambda: disk.query(100))
    disk.make("c")
    yield "merge, full into an empty one", "ms", disk.time(lambda: disk.merge("c", "b"))
    yield "merge, full into full", "ms", disk.time(lambda: disk.merge("c", "b"))
    disk.make("d")
    disk.scatter(1000)
    yield "merge, 1,000 bits into full", "ms", disk.time(lambda: disk.merge("c", "d"))
    yield "clear, full", "ms", disk.time(lambda: disk.clear("c"))


def measure(comparison):
    """Measures the rows."""
    for group in [empty] + [lambda disk, count=count: scattered(disk, count) for count in SCATTERED] + [full]:
        if comparison.wanted and "bitmap" not in comparison.wanted:
            continue
        sides = ([], [])
        for _ in range(comparison.rounds):
            for side, programs in zip(sides, (comparison.cairn, comparison.reference)):
                with folder() as directory, Disk(programs.daemon, directory) as disk:
                    side.append(list(group(disk)))
        for index, (name, unit, _) in enumerate(sides[0][0]):
            name = f"bitmap of 64 TiB: {name}"
            if comparison.wants(name):
                comparison.add(name, unit, *([rows[index][2] for rows in side] for side in sides))
