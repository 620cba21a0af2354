"""Transactions that cannot be carried out leave no trace (docs/transactions.md)."""

import unittest

from daemon import DaemonTestCase
from qemu.qmp.qmp_client import ExecuteError

try:
    import nbd
except ImportError:
    nbd = None


def action(kind, **data):
    return {"type": kind, "data": {name.replace("_", "-"): value for name, value in data.items()}}


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class TransactionTests(DaemonTestCase):
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

    async def state(self):
        nodes = await self.client.execute("query-named-block-nodes", {"flat": True})
        exports = await self.client.execute("query-block-exports")
        graph = await self.client.execute("x-debug-query-block-graph")
        for node in nodes:
            node["image"].pop("actual-size", None)
        edges = sorted((edge["name"], sorted(edge["perm"]), sorted(edge["shared-perm"])) for edge in graph["edges"])
        return nodes, exports, edges

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
