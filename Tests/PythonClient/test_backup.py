"""A live backup, set up with Python's QMP client and read with libnbd's programs or its Python module."""

import asyncio
import errno
import shutil
import unittest

from daemon import PATIENCE, DaemonTestCase

try:
    import nbd
except ImportError:
    nbd = None

CLUSTER = 65536


class BackupTests(DaemonTestCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.make_file("scratch.img", self.SIZE)
        self.client = await self.connect()
        await self.client.execute(
            "block-export-add", {"type": "nbd", "id": "guest", "node-name": "disk", "writable": True})

    async def qemu_io(self, command):
        """Writes to the disk as its guest; the daemon prints the outcome on its standard output."""
        await self.client.execute("human-monitor-command", {"command-line": f'qemu-io disk "{command}"'})

    async def cut(self, **options):
        """Puts a filter under the disk and exports the instant as `snap`."""
        await self.client.execute(
            "blockdev-add",
            {"driver": "file", "node-name": "scratch", "filename": self.path("scratch.img"), "discard": "unmap"})
        await self.client.execute(
            "blockdev-add",
            {"driver": "copy-before-write", "node-name": "cbw", "file": "disk-file", "target": "scratch", **options})
        await self.client.execute(
            "blockdev-reopen", {"options": [{"driver": "raw", "node-name": "disk", "file": "cbw"}]})
        await self.client.execute(
            "blockdev-add", {"driver": "snapshot-access", "node-name": "snap", "file": "cbw", "discard": "unmap"})
        await self.client.execute(
            "block-export-add", {"type": "nbd", "id": "backup", "node-name": "snap", "writable": True})

    async def undo(self):
        with self.client.listener("BLOCK_EXPORT_DELETED") as listener:
            await self.client.execute("block-export-del", {"id": "backup", "mode": "hard"})
            async with asyncio.timeout(PATIENCE):
                await listener.get()
        await self.client.execute("blockdev-del", {"node-name": "snap"})
        await self.client.execute(
            "blockdev-reopen", {"options": [{"driver": "raw", "node-name": "disk", "file": "disk-file"}]})
        await self.client.execute("blockdev-del", {"node-name": "cbw"})
        await self.client.execute("blockdev-del", {"node-name": "scratch"})

    async def filter_counts(self):
        bitmaps = await self.client.execute("query-dirty-bitmaps", {"node-name": "cbw"})
        return [bitmap["count"] for bitmap in bitmaps["cbw"]]

    @unittest.skipUnless(shutil.which("nbdcopy"), "needs nbdcopy")
    async def test_backup_of_a_disk_that_is_written(self):
        await self.qemu_io("write -P 0xaa 0 2M")
        with open(self.path("disk.img"), "rb") as file:
            before = file.read()
        await self.cut()
        await self.qemu_io("write -P 0xbb 1M 2M")
        await self.run_tool("nbdcopy", self.uri("snap"), self.path("backup.img"))
        with open(self.path("backup.img"), "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(await self.filter_counts(), [self.SIZE, 2 << 20, 2 << 20])
        await self.undo()
        with open(self.path("disk.img"), "rb") as file:
            self.assertEqual(file.read(), b"\xaa" * (1 << 20) + b"\xbb" * (2 << 20) + bytes(1 << 20))
        nodes = await self.client.execute("query-named-block-nodes")
        self.assertEqual([node["node-name"] for node in nodes], ["disk", "disk-file"])

    @unittest.skipUnless(shutil.which("nbdinfo"), "needs nbdinfo")
    async def test_what_has_changed(self):
        await self.client.execute("block-dirty-bitmap-add", {"node": "disk", "name": "changes"})
        await self.qemu_io("write 100k 1k")
        await self.cut()
        await self.client.execute("block-dirty-bitmap-disable", {"node": "disk", "name": "changes"})
        await self.client.execute(
            "block-export-add",
            {"type": "nbd", "id": "map", "name": "map", "node-name": "snap",
             "bitmaps": [{"node": "disk", "name": "changes"}]})
        table = await self.run_tool("nbdinfo", "--map=qemu:dirty-bitmap:changes", self.uri("map"))
        self.assertEqual(
            [line.split()[:3] for line in table.splitlines()],
            [["0", "65536", "0"], ["65536", "65536", "1"], ["131072", "4063232", "0"]])

    @unittest.skipUnless(nbd, "needs the Python module of libnbd")
    async def test_reading_and_discarding(self):
        await self.qemu_io("write -P 0xaa 0 256k")
        await self.cut()
        await self.qemu_io("write -P 0xbb 64k 64k")

        def use():
            handle = nbd.NBD()
            handle.connect_uri(self.uri("snap"))
            self.assertEqual(handle.get_size(), self.SIZE)
            self.assertEqual(bytes(handle.pread(4 * CLUSTER, 0)), b"\xaa" * 4 * CLUSTER)
            with self.assertRaises(nbd.Error) as caught:
                handle.pwrite(b"x", 0)
            self.assertEqual(caught.exception.errnum, errno.EOPNOTSUPP)
            handle.trim(2 * CLUSTER, CLUSTER)
            with self.assertRaises(nbd.Error) as caught:
                handle.pread(1, CLUSTER)
            self.assertEqual(caught.exception.errnum, errno.EINVAL)
            self.assertEqual(bytes(handle.pread(CLUSTER, 0)), b"\xaa" * CLUSTER)
            handle.shutdown()

        await asyncio.to_thread(use)
        self.assertEqual(
            await self.filter_counts(), [self.SIZE - 2 * CLUSTER, CLUSTER, self.SIZE - 2 * CLUSTER])
        await self.qemu_io("write -P 0xcc 128k 64k")
        counts = await self.filter_counts()
        self.assertEqual((counts[0], counts[2]), (self.SIZE - 2 * CLUSTER, self.SIZE - 2 * CLUSTER))
        await self.undo()

    @unittest.skipUnless(nbd, "needs the Python module of libnbd")
    async def test_a_part_of_the_disk(self):
        await self.client.execute("block-dirty-bitmap-add", {"node": "disk", "name": "part"})
        await self.qemu_io("write -P 0xaa 64k 64k")
        await self.cut(bitmap={"node": "disk", "name": "part"})
        await self.qemu_io("write -P 0xbb 0 1M")

        def use():
            handle = nbd.NBD()
            handle.connect_uri(self.uri("snap"))
            self.assertEqual(bytes(handle.pread(CLUSTER, CLUSTER)), b"\xaa" * CLUSTER)
            for offset in (0, CLUSTER - 1, 2 * CLUSTER - 1):
                with self.assertRaises(nbd.Error) as caught:
                    handle.pread(2, offset)
                self.assertEqual(caught.exception.errnum, errno.EINVAL)
            handle.shutdown()

        await asyncio.to_thread(use)
        await self.undo()
