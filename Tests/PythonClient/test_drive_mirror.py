"""`drive-mirror`: the image is made, filled, and takes the disk's place, whatever is copied at first."""

import asyncio
import subprocess
import unittest

from daemon import PATIENCE, DaemonTestCase

try:
    import nbd
except ImportError:
    nbd = None


@unittest.skipUnless(nbd, "needs the Python module of libnbd")
class DriveMirrorTests(DaemonTestCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.client = await self.connect()
        for name, more in (("base.q", []), ("top.q", ["-b", "base.q", "-F", "qcow2"])):
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", *more, name, str(self.SIZE)], cwd=self.directory, check=True)

    async def mirrored(self, sync, format):
        """What the disk holds before and after it has been mirrored, and what takes its place."""
        await self.client.execute("blockdev-add", {
            "driver": "qcow2", "node-name": "top", "file": {"driver": "file", "filename": self.path("top.q")},
            "backing": {"driver": "qcow2", "node-name": "base",
                        "file": {"driver": "file", "filename": self.path("base.q")}}})
        await self.client.execute(
            "block-export-add", {"type": "nbd", "id": "guest", "node-name": "top", "name": "guest", "writable": True})
        handle = nbd.NBD()
        handle.connect_uri(self.uri("guest"))
        handle.pwrite(b"first" * 20000, 1 << 20)
        await self.client.execute("drive-mirror", {
            "job-id": "job", "device": "top", "target": self.path(f"{sync}.{format}"), "sync": sync, "format": format,
            "node-name": "copy"})
        await self.until("ready")
        handle.pwrite(b"second" * 3000, (1 << 20) + 70000)
        before = bytes(handle.pread(self.SIZE, 0))
        await self.client.execute("job-complete", {"id": "job"})
        await self.until(None)
        exports = await self.client.execute("query-block-exports")
        self.assertEqual([export["node-name"] for export in exports], ["copy"])
        self.assertEqual(bytes(handle.pread(self.SIZE, 0)), before)
        handle.pwrite(b"third", 2 << 20)
        self.assertEqual(bytes(handle.pread(5, 2 << 20)), b"third")
        handle.shutdown()

    async def until(self, status):
        """Waits until the job has a status, or is gone."""
        async with asyncio.timeout(PATIENCE):
            while [job["status"] for job in await self.client.execute("query-jobs")] != ([status] if status else []):
                await asyncio.sleep(0.01)

    async def test_all_to_raw(self):
        await self.mirrored("full", "raw")

    async def test_all_to_qcow2(self):
        await self.mirrored("full", "qcow2")

    async def test_the_top_layer(self):
        await self.mirrored("top", "qcow2")
        nodes = {node["node-name"]: node for node in await self.client.execute("query-named-block-nodes")}
        self.assertIn({"child": "backing", "node-name": "base"}, nodes["copy"]["children"])

    async def test_only_what_is_written_from_now_on(self):
        await self.mirrored("none", "qcow2")
        nodes = {node["node-name"]: node for node in await self.client.execute("query-named-block-nodes")}
        self.assertIn({"child": "backing", "node-name": "top"}, nodes["copy"]["children"])
