"""Starts the storage daemon that the tests talk to.

The environment variable CAIRN_DAEMON names the program; without it, the one that `swift build` made is taken.
"""

import asyncio
import contextlib
import functools
import os
import subprocess
import tempfile
import unittest

from qemu.qmp import QMPClient

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 15.0


@functools.cache
def program():
    """The path of the daemon."""
    given = os.environ.get("CAIRN_DAEMON")
    if given:
        return os.path.abspath(given)
    shown = subprocess.run(
        ["swift", "build", "--show-bin-path"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return os.path.join(shown.stdout.strip(), "cairn-storage-daemon")


class DaemonTestCase(unittest.IsolatedAsyncioTestCase):
    """A test with a temporary directory and a daemon whose files are all in there."""

    MONITORS = ("qmp",)
    SIZE = 4 << 20

    async def asyncSetUp(self):
        self.stack = contextlib.AsyncExitStack()
        self.addAsyncCleanup(self.stack.aclose)
        self.directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-test-"))
        self.make_file("disk.img", self.SIZE)
        self.process = await self.start_daemon()

    def path(self, name):
        return os.path.join(self.directory, name)

    def make_file(self, name, size):
        with open(self.path(name), "wb") as file:
            file.truncate(size)

    def uri(self, export):
        return f"nbd+unix:///{export}?socket={self.path('nbd.sock')}"

    async def start_daemon(self):
        """Starts the daemon with a raw disk and an NBD server, and returns once its pid file is there."""
        arguments = [
            "--blockdev", f"driver=file,node-name=disk-file,filename={self.path('disk.img')}",
            "--blockdev", "driver=raw,node-name=disk,file=disk-file",
            "--nbd-server", f"addr.type=unix,addr.path={self.path('nbd.sock')},handshake-max-seconds=0",
            "--pidfile", self.path("daemon.pid"),
        ]
        for name in self.MONITORS:
            arguments += [
                "--chardev", f"socket,id={name},path={self.path(name)}.sock,server=on,wait=off",
                "--monitor", f"chardev={name}",
            ]
        process = await asyncio.create_subprocess_exec(
            program(), *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL)
        self.stack.push_async_callback(self.end, process)
        async with asyncio.timeout(PATIENCE):
            while not os.path.exists(self.path("daemon.pid")):
                self.assertIsNone(process.returncode, "the daemon ended before it was up")
                await asyncio.sleep(0.01)
        return process

    async def end(self, process):
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def connect(self, monitor="qmp"):
        """A client that has negotiated; it disconnects at the end of the test."""
        client = QMPClient(monitor)
        async with asyncio.timeout(PATIENCE):
            await client.connect(self.path(f"{monitor}.sock"))
        self.stack.push_async_callback(disconnect, client)
        return client

    async def exit_status(self):
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def run_tool(self, *arguments, **options):
        """Runs a program; its output. Fails the test when it fails."""
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, **options)
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
        self.assertEqual(process.returncode, 0, output.decode())
        return output.decode()


async def disconnect(client):
    """Disconnects, whatever the daemon did to the connection."""
    with contextlib.suppress(Exception):
        await client.disconnect()
