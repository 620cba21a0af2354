"""Cuts over two disks in one transaction, under a writer that never pauses."""

import asyncio
import random
import threading
import unittest

from daemon import PATIENCE, DaemonTestCase
from qemu.qmp import ExecuteError

try:
    import nbd
except ImportError:
    nbd = None

BLOCK = 4096


class LockstepWriter(threading.Thread):
    """Writes the numbers 1, 2, 3, ... each first to one disk and then to the other, at the same place.

    So at each instant the two disks agree, or the first is ahead of the second by one.
    """

    def __init__(self, uris, size, seed):
        super().__init__(daemon=True)
        self.handles = []
        for uri in uris:
            handle = nbd.NBD()
            handle.connect_uri(uri)
            self.handles.append(handle)
        self.blocks = size // BLOCK
        self.random = random.Random(seed)
        self.number = 0
        self.stopping = False

    def run(self):
        while not self.stopping:
            number = self.number + 1
            block = self.random.randrange(1, self.blocks)
            for handle in self.handles:
                # The counter is at the start; the block's own number shows that places agree, too.
                handle.pwrite(number.to_bytes(8, "big") * (BLOCK // 8), block * BLOCK)
                handle.pwrite(number.to_bytes(8, "big"), 0)
            self.number = number

    def stop(self):
        self.stopping = True
        self.join(PATIENCE)
        for handle in self.handles:
            handle.shutdown()


def read_all(uri, size):
    """The bytes of an export."""
    handle = nbd.NBD()
    handle.connect_uri(uri)
    data = b"".join(handle.pread(1 << 20, offset) for offset in range(0, size, 1 << 20))
    handle.shutdown()
    return data


def highest_number(data):
    """The greatest number in the blocks behind the counter."""
    return max(int.from_bytes(data[place:place + 8], "big") for place in range(BLOCK, len(data), BLOCK))


def action(kind, data):
    return {"type": kind, "data": data}


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class ConsistentCutTests(DaemonTestCase):
    ROUNDS = 12
    SIZE = 4 << 20

    async def open_disks(self, image_format):
        self.client = await self.connect()
        for disk in ("a", "b"):
            if image_format == "qcow2":
                self.make_file(f"{disk}.img", 0)
                await self.client.execute(
                    "blockdev-add",
                    {"driver": "file", "node-name": f"{disk}-file", "filename": self.path(f"{disk}.img"),
                     "discard": "unmap"})
                await self.make_qcow2(f"{disk}-file")
            else:
                self.make_file(f"{disk}.img", self.SIZE)
                await self.client.execute(
                    "blockdev-add",
                    {"driver": "file", "node-name": f"{disk}-file", "filename": self.path(f"{disk}.img"),
                     "discard": "unmap"})
            await self.client.execute(
                "blockdev-add", {"driver": image_format, "node-name": f"{disk}-image", "file": f"{disk}-file"})
            await self.client.execute("blockdev-add", self.disk_options(disk, f"{disk}-image"))
            await self.client.execute(
                "block-export-add", {"type": "nbd", "id": disk, "node-name": disk, "writable": True})

    async def make_qcow2(self, node):
        with self.client.listener("JOB_STATUS_CHANGE") as listener:
            await self.client.execute(
                "blockdev-create",
                {"job-id": "create", "options": {"driver": "qcow2", "file": node, "size": self.SIZE}})
            async with asyncio.timeout(PATIENCE):
                while (await listener.get())["data"]["status"] != "concluded":
                    pass
        jobs = await self.client.execute("query-jobs")
        self.assertNotIn("error", jobs[0])
        await self.client.execute("job-dismiss", {"id": "create"})

    def disk_options(self, disk, below):
        return {"driver": "raw", "node-name": disk, "file": below}

    def cut_actions(self):
        """What makes snapshots of both disks, and offers them."""
        actions = []
        for disk in ("a", "b"):
            actions += [
                action("blockdev-add", {
                    "driver": "file", "node-name": f"{disk}-scratch", "discard": "unmap",
                    "filename": self.path(f"{disk}-scratch.img")}),
                action("blockdev-add", {
                    "driver": "copy-before-write", "node-name": f"{disk}-cbw", "file": f"{disk}-image",
                    "target": f"{disk}-scratch"}),
                action("blockdev-reopen", {"options": [self.disk_options(disk, f"{disk}-cbw")]}),
                action("blockdev-add", {
                    "driver": "snapshot-access", "node-name": f"{disk}-snap", "file": f"{disk}-cbw"}),
                action("block-export-add", {"type": "nbd", "id": f"{disk}-snap", "node-name": f"{disk}-snap"}),
            ]
        return actions

    async def undo(self):
        """Takes the snapshots away: first their readers, then the filters."""
        readers, filters = [], []
        for disk in ("a", "b"):
            readers += [
                action("block-export-del", {"id": f"{disk}-snap"}),
                action("blockdev-del", {"node-name": f"{disk}-snap"}),
            ]
            filters += [
                action("blockdev-reopen", {"options": [self.disk_options(disk, f"{disk}-image")]}),
                action("blockdev-del", {"node-name": f"{disk}-cbw"}),
                action("blockdev-del", {"node-name": f"{disk}-scratch"}),
            ]
        await self.execute_when_free(readers)
        await self.client.execute("transaction", {"actions": filters})

    async def execute_when_free(self, actions):
        """The daemon learns a little later than a client that the client has left."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self.client.execute("transaction", {"actions": actions})
                except ExecuteError as error:
                    if "still in use" not in str(error):
                        raise
                    await asyncio.sleep(0.005)

    async def cut_again_and_again(self, image_format):
        await self.open_disks(image_format)
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        writer = LockstepWriter([self.uri("a"), self.uri("b")], self.SIZE, seed)
        writer.start()
        try:
            for number in range(self.ROUNDS):
                for disk in ("a", "b"):
                    self.make_file(f"{disk}-scratch.img", self.SIZE)
                enough = writer.number + 5
                async with asyncio.timeout(PATIENCE):
                    while writer.number < enough:
                        await asyncio.sleep(0)
                names = {node["node-name"] for node in await self.client.execute(
                    "query-named-block-nodes", {"flat": True})}
                # One that fails at its end leaves nothing behind.
                with self.assertRaises(ExecuteError):
                    await self.client.execute(
                        "transaction", {"actions": self.cut_actions() + [action("abort", {})]})
                after = await self.client.execute("query-named-block-nodes", {"flat": True})
                self.assertEqual(names, {node["node-name"] for node in after})
                exports = await self.client.execute("query-block-exports")
                self.assertEqual({"a", "b"}, {export["id"] for export in exports})

                earliest = writer.number
                await self.client.execute("transaction", {"actions": self.cut_actions()})
                latest = writer.number + 1
                async with asyncio.timeout(PATIENCE):
                    first, second = await asyncio.gather(
                        asyncio.to_thread(read_all, self.uri("a-snap"), self.SIZE),
                        asyncio.to_thread(read_all, self.uri("b-snap"), self.SIZE))
                self.check(first, second, earliest, latest, f"round {number}")
                await self.undo()
        finally:
            await asyncio.to_thread(writer.stop)

    def check(self, first, second, earliest, latest, where):
        """Both snapshots are of one instant."""
        counters = [int.from_bytes(data[:8], "big") for data in (first, second)]
        highest = [highest_number(data) for data in (first, second)]
        for counter, number in zip(counters, highest):
            # A block is written before the counter says so.
            self.assertIn(number - counter, (0, 1), where)
        self.assertIn(highest[0] - highest[1], (0, 1), where)
        if highest[0] == highest[1]:
            self.assertEqual(first[BLOCK:], second[BLOCK:], where)
            # The second disk is written when the first one is done.
            self.assertEqual(counters[0], highest[0], where)
        else:
            # But for the last block written, the first disk is like the second.
            different = [
                place for place in range(BLOCK, len(first), BLOCK)
                if first[place:place + BLOCK] != second[place:place + BLOCK]]
            self.assertEqual(len(different), 1, where)
            self.assertEqual(counters[1], highest[1], where)
        self.assertTrue(earliest <= highest[1] <= latest, where)

    async def test_raw_disks_are_cut_at_one_instant(self):
        await self.cut_again_and_again("raw")

    async def test_qcow2_disks_are_cut_at_one_instant(self):
        await self.cut_again_and_again("qcow2")

    async def back_up(self, mode, targets, more={}):
        """Makes backups of both disks in one transaction; the events of their ends by the names of the jobs."""
        ends = ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")
        actions = [
            action("blockdev-backup", {
                "job-id": f"{disk}-job", "device": f"{disk}-image", "target": target, "sync": "full",
                **more.get(disk, {})})
            for disk, target in targets.items()]
        found = {}
        with self.client.listener(ends) as listener:
            await self.client.execute(
                "transaction", {"actions": actions, "properties": {"completion-mode": mode}})
            async with asyncio.timeout(PATIENCE):
                while len(found) < len(targets):
                    event = await listener.get()
                    found[event["data"]["device"]] = event
        return found

    async def test_backups_of_two_disks_are_of_one_instant(self):
        await self.open_disks("raw")
        for disk in ("a", "b"):
            self.make_file(f"{disk}-backup.img", self.SIZE)
            await self.client.execute(
                "blockdev-add",
                {"driver": "file", "node-name": f"{disk}-backup", "filename": self.path(f"{disk}-backup.img")})
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        writer = LockstepWriter([self.uri("a"), self.uri("b")], self.SIZE, seed)
        writer.start()
        try:
            for number in range(self.ROUNDS):
                enough = writer.number + 5
                async with asyncio.timeout(PATIENCE):
                    while writer.number < enough:
                        await asyncio.sleep(0)
                mode = ("individual", "grouped")[number % 2]
                earliest = writer.number
                ends = await self.back_up(mode, {"a": "a-backup", "b": "b-backup"})
                for end in ends.values():
                    self.assertEqual(end["event"], "BLOCK_JOB_COMPLETED")
                    self.assertNotIn("error", end["data"])
                disks = []
                for disk in ("a", "b"):
                    with open(self.path(f"{disk}-backup.img"), "rb") as file:
                        disks.append(file.read())
                self.check(disks[0], disks[1], earliest, writer.number + 1, f"round {number}, {mode}")
        finally:
            await asyncio.to_thread(writer.stop)

    async def test_a_grouped_backup_that_fails_cancels_the_other(self):
        await self.open_disks("raw")
        for name, inner in (("good", "null-co"), ("inner", "null-co")):
            await self.client.execute(
                "blockdev-add", {"driver": inner, "node-name": name, "size": self.SIZE})
        await self.client.execute(
            "blockdev-add",
            {"driver": "blkdebug", "node-name": "bad", "image": "inner",
             "inject-error": [{"event": "none", "errno": 5, "iotype": "write"}]})
        writer = LockstepWriter([self.uri("a"), self.uri("b")], self.SIZE, 1)
        writer.start()
        try:
            async with asyncio.timeout(PATIENCE):
                while writer.number < 200:
                    await asyncio.sleep(0)
            # The good one may not be over before the bad one has failed.
            ends = await self.back_up("grouped", {"a": "good", "b": "bad"}, {"a": {"speed": 65536}})
            self.assertEqual(ends["b-job"]["event"], "BLOCK_JOB_COMPLETED")
            self.assertIn("error", ends["b-job"]["data"])
            self.assertEqual(ends["a-job"]["event"], "BLOCK_JOB_CANCELLED")
            self.assertEqual(await self.client.execute("query-jobs"), [])
        finally:
            await asyncio.to_thread(writer.stop)


if __name__ == "__main__":
    unittest.main()
