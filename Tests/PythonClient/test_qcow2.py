"""qcow2 images through Python's QMP client: chains, a live backup, what the images hold afterwards."""

import os
import shutil
import subprocess
import unittest

from daemon import DaemonTestCase, program

CLUSTER = 65536


class Qcow2Tests(DaemonTestCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.client = await self.connect()

    def make_image(self, name, *options):
        tool = os.path.join(os.path.dirname(program()), "cairn-img")
        subprocess.run([tool, "create", "-q", "-f", "qcow2", *options, self.path(name), str(self.SIZE)], check=True)

    async def add(self, node, name, **options):
        await self.client.execute("blockdev-add", {
            "driver": "qcow2", "node-name": node, "discard": "unmap",
            "file": {"driver": "file", "filename": self.path(name), "discard": "unmap"}, **options})

    async def qemu_io(self, node, command):
        await self.client.execute("human-monitor-command", {"command-line": f'qemu-io {node} "{command}"'})

    async def image(self, node):
        nodes = await self.client.execute("query-named-block-nodes")
        return next(each for each in nodes if each["node-name"] == node)["image"]

    async def test_a_chain_is_opened_and_described(self):
        self.make_image("base.qcow2")
        self.make_image("overlay.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        await self.add("overlay", "overlay.qcow2")
        image = await self.image("overlay")
        self.assertEqual(image["format"], "qcow2")
        self.assertEqual(image["virtual-size"], self.SIZE)
        self.assertEqual(image["cluster-size"], CLUSTER)
        self.assertEqual(image["backing-filename"], "base.qcow2")
        self.assertEqual(image["full-backing-filename"], self.path("base.qcow2"))
        self.assertEqual(image["backing-image"]["filename"], self.path("base.qcow2"))
        self.assertEqual(image["format-specific"]["data"]["compat"], "1.1")
        await self.client.execute("blockdev-reopen", {"options": [{
            "driver": "qcow2", "node-name": "overlay", "backing": None, "discard": "unmap",
            "file": {"driver": "file", "filename": self.path("overlay.qcow2"), "discard": "unmap"}}]})
        self.assertNotIn("backing-image", await self.image("overlay"))

    @unittest.skipUnless(shutil.which("nbdcopy"), "needs nbdcopy")
    async def test_a_live_backup_of_qcow2_into_qcow2(self):
        self.make_image("base.qcow2")
        self.make_image("disk.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        self.make_image("scratch.qcow2")
        await self.add("base", "base.qcow2")
        await self.qemu_io("base", "write -P 1 0 1M")
        await self.client.execute("blockdev-del", {"node-name": "base"})
        await self.add("image", "disk.qcow2")
        await self.client.execute("blockdev-add", {"driver": "raw", "node-name": "guest", "file": "image"})
        await self.qemu_io("guest", "write -P 2 512k 1M")
        await self.add("scratch", "scratch.qcow2")
        await self.client.execute("blockdev-add", {
            "driver": "copy-before-write", "node-name": "cbw", "file": "image", "target": "scratch"})
        await self.client.execute(
            "blockdev-reopen", {"options": [{"driver": "raw", "node-name": "guest", "file": "cbw"}]})
        await self.client.execute("blockdev-add", {"driver": "snapshot-access", "node-name": "snap", "file": "cbw"})
        address = self.path("nbd.sock")
        await self.client.execute("block-export-add", {"type": "nbd", "id": "snap", "node-name": "snap"})
        await self.qemu_io("guest", "write -P 3 0 3M")
        subprocess.run(["nbdcopy", f"nbd+unix:///snap?socket={address}", self.path("backup.img")], check=True)
        with open(self.path("backup.img"), "rb") as file:
            backup = file.read()
        half = 512 << 10
        self.assertEqual(backup, b"\1" * half + b"\2" * (2 * half) + bytes(self.SIZE - 3 * half))


if __name__ == "__main__":
    unittest.main()
