"""Transactions of random actions against a naive model: a second daemon that gets the same actions as single commands.

A transaction that fails leaves everything as it was. One that succeeds leaves what its actions would leave one by one. One
action alone fails with the command's own error. The seeds are 1, 2, ... up to CAIRN_TRANSACTION_SEEDS (default 3).
"""

import asyncio
import os
import random
import re
import subprocess
import unittest

from daemon import PATIENCE, DaemonTestCase, disconnect, program
from qemu.qmp import ExecuteError, QMPClient

try:
    import nbd
except ImportError:
    nbd = None

SEEDS = int(os.environ.get("CAIRN_TRANSACTION_SEEDS", "3"))
OVERLAYS = 3
MADE_UP = re.compile(r"#block\d+")
POOL = [f"p{index}" for index in range(5)]


class RandomActions:
    """Actions as (kind, data); many of them cannot succeed, as names are drawn without looking at what is there."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def node(self):
        return self.random.choice(["disk", "wrap", *POOL, *POOL])

    def bitmap(self):
        return self.random.choice(["b0", "b1", "b2"])

    def bitmap_action(self):
        kind = self.random.choice(["add", "add", "add", "remove", "clear", "enable", "disable", "merge"])
        data = {"node": self.random.choice(["disk", "disk", "wrap", self.node()])}
        if kind == "merge":
            data["target"] = self.bitmap()
            data["bitmaps"] = self.random.sample(["b0", "b1", "b2"], self.random.randint(1, 2))
        else:
            data["name"] = self.bitmap()
        if kind == "add":
            data["granularity"] = self.random.choice([4096, 65536])
            data["disabled"] = self.random.random() < 0.3
        return f"block-dirty-bitmap-{kind}", data

    def add(self):
        data = {"node-name": self.random.choice(POOL)}
        kind = self.random.choice(["null", "raw", "overlay", "overlay"])
        if kind == "null":
            data |= {"driver": "null-co", "size": 4 << 20, "read-zeroes": True}
        elif kind == "raw":
            data |= {"driver": "raw", "file": self.node(), "read-only": True}
        else:
            path = f"overlay{self.random.randrange(OVERLAYS)}.qcow2"
            data |= {"driver": "qcow2", "file": {"driver": "file", "filename": path}, "backing": None}
        return "blockdev-add", data

    def export(self):
        identity = f"e{self.random.randrange(3)}"
        if self.random.random() < 0.5:
            return "block-export-del", {"id": identity, "mode": self.random.choice(["safe", "hard"])}
        return "block-export-add", {
            "id": identity, "type": "nbd", "node-name": self.node(), "name": identity,
            "writable": self.random.random() < 0.3}

    def action(self):
        choice = self.random.random()
        if choice < 0.4:
            return self.bitmap_action()
        if choice < 0.58:
            return self.add()
        if choice < 0.66:
            return "blockdev-del", {"node-name": self.random.choice(POOL)}
        if choice < 0.76:
            return "blockdev-snapshot", {"node": self.node(), "overlay": self.random.choice(POOL)}
        if choice < 0.92:
            return self.export()
        if choice < 0.98:
            return "blockdev-reopen", {"options": [
                {"driver": "raw", "node-name": "wrap", "file": self.random.choice(["disk", *POOL])}]}
        return "abort", {}

    def actions(self):
        return [self.action() for _ in range(self.random.choice([1, 1, 2, 2, 3, 4, 6]))]


class Side:
    """One of the two daemons."""

    def __init__(self, client, socket):
        self.client = client
        self.socket = socket

    async def execute(self, command, arguments):
        """The error's text, or None."""
        try:
            await self.client.execute(command, arguments)
        except ExecuteError as error:
            return str(error)
        return None

    async def transaction(self, actions):
        """The error's text, or None."""
        return await self.execute(
            "transaction", {"actions": [{"type": kind, "data": data} for kind, data in actions]})

    def write(self, place):
        """A guest's write to the disk."""
        handle = nbd.NBD()
        handle.connect_uri(f"nbd+unix:///guest?socket={self.socket}")
        handle.pwrite(b"guest data" * 51 + b"!!", place)
        handle.shutdown()

    async def settled(self):
        """Waits until exports that are asked to go are gone."""
        while any(export["shutting-down"] for export in await self.client.execute("query-block-exports")):
            await asyncio.sleep(0)

    async def state(self):
        """What clients see of nodes, bitmaps, exports, and the graph."""
        nodes = await self.client.execute("query-named-block-nodes", {"flat": True})
        for node in nodes:
            node["image"].pop("actual-size", None)
        exports = await self.client.execute("query-block-exports")
        graph = await self.client.execute("x-debug-query-block-graph")
        edges = sorted((edge["name"], sorted(edge["perm"]), sorted(edge["shared-perm"])) for edge in graph["edges"])
        # The numbers of the names that the daemon makes up differ.
        return sorted(MADE_UP.sub("#", repr(node)) for node in nodes), sorted(map(repr, exports)), edges


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class RandomTransactionTests(DaemonTestCase):
    STEPS = 120

    async def side(self, name):
        """A daemon in a directory of its own, which is its working directory: both have the same relative names."""
        directory = self.path(name)
        os.mkdir(directory)
        for index in range(OVERLAYS):
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"overlay{index}.qcow2", "4M"],
                           cwd=directory, check=True)
        with open(os.path.join(directory, "disk.img"), "wb") as file:
            file.truncate(4 << 20)
        client = await self.start(directory)
        await client.execute("blockdev-add", {
            "driver": "raw", "node-name": "disk", "file": {"driver": "file", "filename": "disk.img"}})
        await client.execute("blockdev-add", {"driver": "raw", "node-name": "wrap", "file": "disk", "read-only": True})
        await client.execute("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}})
        await client.execute("block-export-add", {
            "id": "guest", "type": "nbd", "node-name": "disk", "name": "guest", "writable": True})
        return Side(client, os.path.join(directory, "nbd.sock"))

    async def start(self, directory):
        """A client of a new daemon that runs in a directory."""
        path = os.path.join(directory, "qmp.sock")
        process = await asyncio.create_subprocess_exec(
            program(), "--chardev", f"socket,id=qmp,path={path},server=on,wait=off", "--monitor", "chardev=qmp",
            "--pidfile", os.path.join(directory, "pid"), cwd=directory)
        self.stack.push_async_callback(self.end, process)
        client = QMPClient()
        async with asyncio.timeout(PATIENCE):
            while not os.path.exists(os.path.join(directory, "pid")):
                await asyncio.sleep(0.01)
            await client.connect(path)
        self.stack.push_async_callback(disconnect, client)
        return client

    async def run_seed(self, seed):
        actions = RandomActions(seed)
        subject, model = await self.side(f"subject{seed}"), await self.side(f"model{seed}")
        succeeded = 0
        for step in range(self.STEPS):
            chosen = actions.actions()
            with self.subTest(seed=seed, step=step, actions=chosen):
                before = await subject.state()
                error = await subject.transaction(chosen)
                if error is None:
                    succeeded += 1
                    for action in chosen:
                        self.assertIsNone(await model.execute(*action))
                        await model.settled()
                    await subject.settled()
                    self.assertEqual(await subject.state(), await model.state())
                else:
                    self.assertEqual(await subject.state(), before)
                    if len(chosen) == 1 and chosen[0][0] != "abort":
                        self.assertEqual(error, await model.execute(*chosen[0]))
                place = actions.random.randrange(8192) * 512
                await asyncio.gather(*(asyncio.to_thread(side.write, place) for side in (subject, model)))
        self.assertGreater(succeeded, 3, f"seed {seed}")

    async def test_failed_transactions_change_nothing_and_others_do_what_their_actions_do(self):
        for seed in range(1, SEEDS + 1):
            await self.run_seed(seed)


if __name__ == "__main__":
    unittest.main()
