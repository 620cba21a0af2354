"""The daemon's threads: the main loop, one for each iothread, and the kernel's own workers; no pool beside them."""

import os
import unittest

from daemon import DaemonTestCase


class ThreadTests(DaemonTestCase):
    def thread_names(self):
        """The names of the daemon's threads, but for the kernel's."""
        folder = f"/proc/{self.process.pid}/task"
        names = []
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/comm") as file:
                names.append(file.read().strip())
        return sorted(name for name in names if not name.startswith("iou-"))

    async def test_an_idle_daemon_is_one_thread_without_foundation(self):
        self.assertEqual(self.thread_names(), ["cairn-storage-d"])
        with open(f"/proc/{self.process.pid}/maps") as file:
            libraries = {line.split("/")[-1].strip() for line in file if ".so" in line}
        # Foundation alone would take longer to start than all the rest.
        self.assertEqual([name for name in libraries if "Foundation" in name or "ICU" in name], [])

    async def test_work_stays_on_the_loops(self):
        client = await self.connect()
        await client.execute("object-add", {"qom-type": "iothread", "id": "io0"})
        for identifier, thread in (("a", {}), ("b", {"iothread": "io0"})):
            await client.execute(
                "block-export-add",
                {"type": "nbd", "id": identifier, "name": identifier, "node-name": "disk", "writable": True, **thread})
            await self.run_tool(
                "qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", "-c", "read -P 7 0 64k", "-c", "flush",
                f"nbd+unix:///{identifier}?socket={self.path('nbd.sock')}")
            await client.execute("human-monitor-command", {"command-line": 'qemu-io disk "read 0 1M"'})
            await client.execute("block-export-del", {"id": identifier, "mode": "hard"})
        self.assertEqual(self.thread_names(), ["cairn-storage-d", "io0"])


if __name__ == "__main__":
    unittest.main()
