"""The monitor as Python's QMP client sees it."""

import asyncio
import json
import os

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPClient

from daemon import PATIENCE, DaemonTestCase, disconnect


class MonitorTests(DaemonTestCase):
    MONITORS = ("qmp", "second")

    async def assert_error(self, text, awaitable, kind="GenericError"):
        with self.assertRaises(ExecuteError) as caught:
            await awaitable
        self.assertEqual((caught.exception.error_class, str(caught.exception)), (kind, text))

    async def test_greeting(self):
        client = await self.connect()
        version = client.greeting.QMP.version
        self.assertEqual(await client.execute("query-version"), version)
        self.assertEqual(client.greeting.QMP.capabilities, ["oob"])
        self.assertIn("major", version["qemu"])

    async def test_values_come_back(self):
        client = await self.connect()
        await client.execute("blockdev-add", {"driver": "null-co", "node-name": "n", "size": 4096})
        nodes = await client.execute("query-named-block-nodes")
        self.assertEqual([node["node-name"] for node in nodes], ["n", "disk", "disk-file"])
        self.assertEqual(nodes[0]["image"]["virtual-size"], 4096)

    async def test_errors(self):
        client = await self.connect()
        await self.assert_error(
            "The command no-such-thing has not been found", client.execute("no-such-thing"), "CommandNotFound")
        await self.assert_error("Parameter 'node-name' is missing", client.execute("blockdev-del"))
        await self.assert_error(
            "Invalid parameter type for 'node-name', expected: string",
            client.execute("blockdev-del", {"node-name": 1}))
        await self.assert_error(
            "Failed to find node with node-name='ünknown'", client.execute("blockdev-del", {"node-name": "ünknown"}))
        self.assertTrue(await client.execute("query-commands"), "the connection goes on after errors")

    async def test_a_reply_of_many_kilobytes(self):
        client = await self.connect()
        schema = await client.execute("query-qmp-schema")
        self.assertIn("blockdev-add", [entity["name"] for entity in schema if entity["meta-type"] == "command"])

    async def test_commands_at_once_get_their_own_replies(self):
        client = await self.connect()

        async def ask(number):
            await client.execute("blockdev-add", {"driver": "null-co", "node-name": f"n{number}", "size": number * 512})
            with self.assertRaises(ExecuteError) as caught:
                await client.execute("blockdev-del", {"node-name": f"missing{number}"})
            self.assertIn(f"'missing{number}'", str(caught.exception))

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(ask(number) for number in range(1, 41)))
        sizes = {node["node-name"]: node["image"]["virtual-size"]
                 for node in await client.execute("query-named-block-nodes")}
        self.assertEqual([sizes[f"n{number}"] for number in range(1, 41)], [n * 512 for n in range(1, 41)])

    async def test_out_of_band(self):
        client = await self.connect()
        message = QMPClient.make_execute_msg("query-version", oob=True)
        await self.assert_error("The command query-version does not support OOB", client.execute_msg(message))

    async def test_out_of_band_overtakes(self):
        client = await self.connect()
        slow = asyncio.create_task(
            client.execute("human-monitor-command", {"command-line": 'qemu-io disk "sleep 500"'}))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(PATIENCE):
            with self.assertRaises(ExecuteError):
                await client.execute_msg(QMPClient.make_execute_msg("query-version", oob=True))
            self.assertFalse(slow.done())
            await slow

    async def test_two_monitors(self):
        first, second = await self.connect(), await self.connect("second")
        await first.execute("blockdev-add", {"driver": "null-co", "node-name": "n"})
        nodes = await second.execute("query-named-block-nodes")
        self.assertEqual(nodes[0]["node-name"], "n")
        await second.execute("blockdev-del", {"node-name": "n"})
        await self.assert_error(
            "Failed to find node with node-name='n'", first.execute("blockdev-del", {"node-name": "n"}))

    async def test_many_commands_from_two_monitors(self):
        clients = await self.connect(), await self.connect("second")

        async def churn(client, name):
            for _ in range(25):
                await client.execute("blockdev-add", {"driver": "raw", "node-name": name, "file": "disk-file"})
                await client.execute("blockdev-del", {"node-name": name})

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(churn(clients[0], "a"), churn(clients[1], "b"))
        nodes = await clients[0].execute("query-named-block-nodes")
        self.assertEqual([node["node-name"] for node in nodes], ["disk", "disk-file"])

    async def test_reconnecting(self):
        client = await self.connect()
        for _ in range(5):
            await client.execute("query-version")
            await client.disconnect()
            await client.connect(self.path("qmp.sock"))
        await client.execute("query-version")

    async def test_the_next_client_waits_for_the_first_to_leave(self):
        first = await self.connect()
        second = QMPClient("second client")
        connecting = asyncio.create_task(second.connect(self.path("qmp.sock")))
        self.stack.push_async_callback(disconnect, second)
        await first.execute("query-version")
        self.assertFalse(connecting.done())
        await first.disconnect()
        async with asyncio.timeout(PATIENCE):
            await connecting
            await second.execute("query-version")

    async def test_a_client_that_vanishes_during_a_command(self):
        reader, writer = await asyncio.open_unix_connection(self.path("qmp.sock"))
        await reader.readline()
        for command in [
            {"execute": "qmp_capabilities"},
            {"execute": "human-monitor-command", "arguments": {"command-line": 'qemu-io disk "sleep 300"'},
             "id": "__qmp#00000"},
        ]:
            writer.write(json.dumps(command).encode())
        await reader.readline()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        # The ids of this client are the same as those of the one that left.
        client = await self.connect()
        async with asyncio.timeout(PATIENCE):
            self.assertIn("qemu", await client.execute("query-version"))
            self.assertIsInstance(await client.execute("query-commands"), list)

    async def test_a_client_that_vanishes_in_the_middle_of_a_message(self):
        for junk in (b'{"execute": "qmp_cap', b"\x00\xff{", b"[" * 2000, b'{"execute": "quit"}'):
            _, writer = await asyncio.open_unix_connection(self.path("qmp.sock"))
            writer.write(junk)
            writer.close()
            await writer.wait_closed()
        client = await self.connect()
        await client.execute("query-version")

    async def test_quit(self):
        client = await self.connect()
        await client.execute("quit")
        self.assertEqual(await self.exit_status(), 0)
        self.assertEqual(sorted(os.listdir(self.directory)), ["disk.img"])

    async def test_a_command_that_the_end_interrupts(self):
        client, other = await self.connect(), await self.connect("second")
        waiting = asyncio.create_task(
            client.execute("human-monitor-command", {"command-line": 'qemu-io disk "sleep 300"'}))
        await asyncio.sleep(0.05)
        await other.execute("quit")
        async with asyncio.timeout(PATIENCE):
            try:
                await waiting
            except ExecInterruptedError:
                pass  # The daemon may have ended first.
        self.assertEqual(await self.exit_status(), 0)
