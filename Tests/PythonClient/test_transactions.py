"""Cuts over several disks by one transaction, under a guest that writes to them in lockstep (docs/transactions.md)."""

import asyncio
import struct
import threading
import unittest

from daemon import PATIENCE, DaemonTestCase
from qemu.qmp.qmp_client import ExecuteError

try:
    import nbd
except ImportError:
    nbd = None

SECTORS = 64


class LockstepGuest(threading.Thread):
    """Writes numbers, each first to one disk and then to the other, at one of a few places."""

    def __init__(self, uris):
        super().__init__(daemon=True)
        self.handles = []
        for uri in uris:
            handle = nbd.NBD()
            handle.connect_uri(uri)
            self.handles.append(handle)
        self.number = 0
        self.stopping = False

    def run(self):
        while not self.stopping:
            self.number += 1
            for handle in self.handles:
                handle.pwrite(struct.pack("<Q", self.number) * 64, self.number % SECTORS * 65536)

    def stop(self):
        self.stopping = True
        self.join(PATIENCE)


def latest(uri):
    """The highest number on a disk."""
    handle = nbd.NBD()
    handle.connect_uri(uri)
    found = max(struct.unpack("<Q", bytes(handle.pread(8, place * 65536)))[0] for place in range(SECTORS))
    handle.shutdown()
    return found


def action(kind, **data):
    return {"type": kind, "data": {name.replace("_", "-"): value for name, value in data.items()}}


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class TransactionTests(DaemonTestCase):
    SIZE = SECTORS * 65536
    ROUNDS = 20

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.client = await self.connect()
        self.make_file("other.img", self.SIZE)
        await self.add(driver="file", node_name="other-file", filename=self.path("other.img"))
        await self.add(driver="raw", node_name="other", file="other-file")
        for name in ("disk", "other"):
            self.make_file(f"{name}.scratch", self.SIZE)
            await self.add(driver="file", node_name=f"{name}-scratch", filename=self.path(f"{name}.scratch"))
            await self.client.execute(
                "block-export-add", {"type": "nbd", "id": name, "node-name": name, "writable": True})

    async def add(self, **options):
        await self.client.execute("blockdev-add", {name.replace("_", "-"): value for name, value in options.items()})

    async def transaction(self, *actions):
        await self.client.execute("transaction", {"actions": list(actions)})

    def cut(self, names=("disk", "other")):
        """What makes a point in time of all disks visible."""
        filters = [
            action("blockdev-add", driver="copy-before-write", node_name=f"{name}-cbw", file=f"{name}-file",
                   target=f"{name}-scratch")
            for name in names
        ]
        switch = action("blockdev-reopen", options=[
            {"driver": "raw", "node-name": name, "file": f"{name}-cbw"} for name in names])
        shown = [
            step for name in names for step in (
                action("blockdev-add", driver="snapshot-access", node_name=f"{name}-snap", file=f"{name}-cbw"),
                action("block-export-add", type="nbd", id=f"{name}-backup", node_name=f"{name}-snap"))
        ]
        return [*filters, switch, *shown]

    def uncut(self, names=("disk", "other")):
        exports = [action("block-export-del", id=f"{name}-backup", mode="hard") for name in names]
        snapshots = [action("blockdev-del", node_name=f"{name}-snap") for name in names]
        switch = action("blockdev-reopen", options=[
            {"driver": "raw", "node-name": name, "file": f"{name}-file"} for name in names])
        filters = [action("blockdev-del", node_name=f"{name}-cbw") for name in names]
        return [*exports, *snapshots, switch, *filters]

    async def state(self):
        nodes = await self.client.execute("query-named-block-nodes", {"flat": True})
        exports = await self.client.execute("query-block-exports")
        graph = await self.client.execute("x-debug-query-block-graph")
        for node in nodes:
            node["image"].pop("actual-size", None)
        edges = sorted((edge["name"], sorted(edge["perm"]), sorted(edge["shared-perm"])) for edge in graph["edges"])
        return nodes, exports, edges

    async def test_two_disks_are_cut_at_one_instant(self):
        guest = LockstepGuest([self.uri("disk"), self.uri("other")])
        guest.start()
        self.addCleanup(guest.stop)
        for _ in range(self.ROUNDS):
            before = guest.number
            await self.transaction(*self.cut())
            after = guest.number
            first, second = await asyncio.gather(*(
                asyncio.to_thread(latest, self.uri(f"{name}-snap")) for name in ("disk", "other")))
            # The guest writes a number to the second disk once it is on the first.
            self.assertIn(first - second, (0, 1))
            self.assertLessEqual(before - 1, second)
            self.assertLessEqual(first, after)
            await self.transaction(*self.uncut())
            while guest.number < after + 3:
                await asyncio.sleep(0)

    async def test_a_failure_anywhere_leaves_everything_as_it_was(self):
        for bitmap in ("kept", "full"):
            await self.client.execute("block-dirty-bitmap-add", {"node": "disk", "name": bitmap})
        handle = nbd.NBD()
        handle.connect_uri(self.uri("disk"))
        handle.pwrite(b"x" * 65536, 131072)
        steps = [
            action("block-dirty-bitmap-add", node="disk", name="new"),
            action("block-dirty-bitmap-merge", node="disk", target="new", bitmaps=["full"]),
            action("block-dirty-bitmap-clear", node="disk", name="kept"),
            action("block-dirty-bitmap-disable", node="disk", name="full"),
            action("block-dirty-bitmap-remove", node="disk", name="kept"),
            *self.cut(),
            action("block-export-del", id="other", mode="safe"),
        ]
        former = await self.state()
        for length in range(len(steps) + 1):
            with self.assertRaises(ExecuteError) as caught:
                await self.transaction(*steps[:length], action("abort"))
            self.assertEqual(str(caught.exception), "Transaction aborted using Abort action")
            self.assertEqual(await self.state(), former, f"after {length} actions")
        await self.transaction(*steps)
        nodes, exports, _ = await self.state()
        self.assertEqual({export["id"] for export in exports}, {"disk", "disk-backup", "other-backup"})
        self.assertIn("disk-snap", {node["node-name"] for node in nodes})
        handle.shutdown()

    async def test_a_cut_that_cannot_be_made_leaves_no_trace(self):
        former = await self.state()
        missing = action("blockdev-add", driver="snapshot-access", node_name="late", file="nope")
        with self.assertRaises(ExecuteError):
            await self.transaction(*self.cut(), missing)
        self.assertEqual(await self.state(), former)
