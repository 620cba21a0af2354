"""qmp-shell of the package qemu.qmp, fed from its standard input."""

import asyncio
import os
import sys

from daemon import PATIENCE, DaemonTestCase

COMMANDS = """\
query-version
blockdev-add driver=null-co node-name=n size=4096
block-export-add type=nbd id=e node-name=n
query-block-exports
blockdev-reopen options=[{"driver":"raw","node-name":"disk","file":"disk-file","read-only":true}]
blockdev-add driver=raw node-name=r file={"driver":"null-co","size":8192}
blockdev-del node-name=missing
no-such-command
block-export-del id=e
blockdev-del node-name=n
quit
"""


class ShellTests(DaemonTestCase):
    async def test_commands(self):
        shell = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qemu.qmp.qmp_shell", self.path("qmp.sock"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=dict(os.environ, HOME=self.directory))
        async with asyncio.timeout(PATIENCE):
            output, _ = await shell.communicate(COMMANDS.encode())
        text = output.decode()
        self.assertIn("Welcome to the QMP low-level shell!", text)
        lines = [line.removeprefix("(QEMU) ") for line in text.splitlines()]
        replies = [line for line in lines if line.startswith('{"')]
        self.assertEqual(len(replies), 11, text)
        self.assertIn('"qemu"', replies[0])
        self.assertEqual([replies[1], replies[2]], ['{"return": {}}'] * 2)
        self.assertIn('"node-name": "n"', replies[3])
        self.assertEqual([replies[4], replies[5]], ['{"return": {}}'] * 2)
        self.assertIn("Failed to find node with node-name='missing'", replies[6])
        self.assertIn("CommandNotFound", replies[7])
        self.assertEqual(replies[8:], ['{"return": {}}'] * 3)
        self.assertEqual(await self.exit_status(), 0)
