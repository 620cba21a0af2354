"""The order of commands in docs/incremental-backup.md, under a guest that writes without a pause."""

import asyncio
import random
import threading
import time
import unittest

from daemon import PATIENCE, DaemonTestCase

try:
    import nbd
except ImportError:
    nbd = None

CONTEXT = "qemu:dirty-bitmap:"


class Guest(threading.Thread):
    """Writes at random places, one request after the other, and keeps a journal."""

    def __init__(self, uri, size, seed):
        super().__init__(daemon=True)
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.size = size
        self.random = random.Random(seed)
        self.journal = []
        self.completed = 0
        self.stopping = False

    def run(self):
        while not self.stopping:
            length = self.random.choice((1, 512, 3000, 65536, 100000))
            offset = self.random.randrange(self.size - length)
            data = self.random.randbytes(8) * (length // 8 + 1)
            self.journal.append((offset, data[:length]))
            self.handle.pwrite(data[:length], offset)
            self.completed += 1

    def stop(self):
        self.stopping = True
        self.join(PATIENCE)


def dirty_extents(handle, name, size):
    """The dirty parts of an export as (offset, length)."""
    found = []

    def collect(context, offset, entries, error):
        for length, flags in zip(entries[::2], entries[1::2]):
            found.append((offset, length, flags))
            offset += length

    position = 0
    while position < size:
        handle.block_status(size - position, position, collect)
        position = found[-1][0] + found[-1][1]
    return [(offset, length) for offset, length, flags in found if flags]


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class IncrementTests(DaemonTestCase):
    PERIODS = 6

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.client = await self.connect()
        await self.client.execute(
            "block-export-add", {"type": "nbd", "id": "guest", "node-name": "disk", "writable": True})
        self.make_file("scratch.img", self.SIZE)
        await self.client.execute(
            "blockdev-add",
            {"driver": "file", "node-name": "scratch", "filename": self.path("scratch.img"), "discard": "unmap"})

    async def add_bitmap(self, name):
        await self.client.execute("block-dirty-bitmap-add", {"node": "disk", "name": name, "granularity": 4096})

    async def make_cut(self, guest):
        """Makes the cut; the numbers of journal entries between which it lies."""
        await self.client.execute(
            "blockdev-add",
            {"driver": "copy-before-write", "node-name": "cbw", "file": "disk-file", "target": "scratch"})
        earliest = guest.completed
        await self.client.execute(
            "blockdev-reopen", {"options": [{"driver": "raw", "node-name": "disk", "file": "cbw"}]})
        return earliest, len(guest.journal)

    async def pull(self, backup, bitmap):
        """Reads what is dirty from the snapshot into the backup."""
        await self.client.execute(
            "blockdev-add", {"driver": "snapshot-access", "node-name": "snap", "file": "cbw", "discard": "unmap"})
        await self.client.execute(
            "block-export-add",
            {"type": "nbd", "id": "backup", "node-name": "snap", "writable": True,
             "bitmaps": [{"node": "disk", "name": bitmap}]})

        def read():
            handle = nbd.NBD()
            handle.add_meta_context(CONTEXT + bitmap)
            handle.connect_uri(self.uri("snap"))
            for offset, length in dirty_extents(handle, bitmap, self.SIZE):
                backup[offset:offset + length] = handle.pread(length, offset)
            handle.shutdown()

        await asyncio.to_thread(read)

    async def undo(self):
        with self.client.listener("BLOCK_EXPORT_DELETED") as listener:
            await self.client.execute("block-export-del", {"id": "backup", "mode": "hard"})
            async with asyncio.timeout(PATIENCE):
                await listener.get()
        await self.client.execute("blockdev-del", {"node-name": "snap"})
        await self.client.execute(
            "blockdev-reopen", {"options": [{"driver": "raw", "node-name": "disk", "file": "disk-file"}]})
        await self.client.execute("blockdev-del", {"node-name": "cbw"})

    def matching_instant(self, backup, journal, earliest, latest):
        """How many journal entries make the backup out of an empty disk, between the bounds; None where none does."""
        state = bytearray(self.SIZE)
        for count, (offset, data) in enumerate(journal[:latest]):
            if count >= earliest and state == backup:
                return count
            state[offset:offset + len(data)] = data
        return latest if state == backup else None

    async def test_increments_are_instants(self):
        seed = time.time_ns()
        guest = Guest(self.uri("disk"), self.SIZE, seed)
        await self.add_bitmap("since-0")
        backup = bytearray(self.SIZE)
        guest.start()
        try:
            for period in range(self.PERIODS):
                await asyncio.sleep(0.05)
                await self.add_bitmap(f"since-{period + 1}")
                earliest, latest = await self.make_cut(guest)
                await self.client.execute("block-dirty-bitmap-disable", {"node": "disk", "name": f"since-{period}"})
                await self.pull(backup, f"since-{period}")
                await self.undo()
                await self.client.execute("block-dirty-bitmap-remove", {"node": "disk", "name": f"since-{period}"})
                self.assertIsNotNone(
                    self.matching_instant(backup, guest.journal, earliest, latest),
                    f"increment {period} is no instant of the disk (seed {seed})")
        finally:
            guest.stop()
        self.assertGreater(guest.completed, 0)

    async def test_a_failed_increment_is_made_up_for(self):
        seed = time.time_ns()
        guest = Guest(self.uri("disk"), self.SIZE, seed)
        await self.add_bitmap("first")
        guest.start()
        try:
            await asyncio.sleep(0.05)
            await self.add_bitmap("second")
            await self.make_cut(guest)
            await self.client.execute("block-dirty-bitmap-disable", {"node": "disk", "name": "first"})
            await self.pull(bytearray(self.SIZE), "first")
            await self.undo()
            await self.client.execute(
                "block-dirty-bitmap-merge", {"node": "disk", "target": "second", "bitmaps": ["first"]})
            await self.client.execute("block-dirty-bitmap-remove", {"node": "disk", "name": "first"})
            await asyncio.sleep(0.05)
            backup = bytearray(self.SIZE)
            earliest, latest = await self.make_cut(guest)
            await self.client.execute("block-dirty-bitmap-disable", {"node": "disk", "name": "second"})
            await self.pull(backup, "second")
            await self.undo()
        finally:
            guest.stop()
        self.assertIsNotNone(
            self.matching_instant(backup, guest.journal, earliest, latest), f"no instant of the disk (seed {seed})")
