"""Events, as Python's QMP client gets them."""

import asyncio

from daemon import PATIENCE, DaemonTestCase


class EventTests(DaemonTestCase):
    MONITORS = ("qmp", "second")

    async def export(self, client, name):
        await client.execute("block-export-add", {"type": "nbd", "id": name, "node-name": "disk"})

    async def next_event(self, listener):
        async with asyncio.timeout(PATIENCE):
            return await listener.get()

    async def test_export_deleted(self):
        client = await self.connect()
        await self.export(client, "e")
        with client.listener("BLOCK_EXPORT_DELETED") as listener:
            await client.execute("block-export-del", {"id": "e"})
            event = await self.next_event(listener)
        self.assertEqual(event["data"], {"id": "e"})
        self.assertEqual(set(event["timestamp"]), {"seconds", "microseconds"})
        self.assertEqual(await client.execute("query-block-exports"), [])

    async def test_the_end_of_the_server_deletes_all_exports(self):
        client = await self.connect()
        for name in ("a", "b", "c"):
            await client.execute(
                "block-export-add", {"type": "nbd", "id": name, "node-name": "disk", "name": name})
        with client.listener("BLOCK_EXPORT_DELETED") as listener:
            await client.execute("nbd-server-stop")
            gone = {(await self.next_event(listener))["data"]["id"] for _ in range(3)}
        self.assertEqual(gone, {"a", "b", "c"})

    async def test_write_threshold(self):
        client = await self.connect()
        await client.execute("block-set-write-threshold", {"node-name": "disk-file", "write-threshold": 1 << 20})
        with client.listener("BLOCK_WRITE_THRESHOLD") as listener:
            for command in ("write 0 512", "write 1044480 8192", "write 2M 512"):
                await client.execute("human-monitor-command", {"command-line": f'qemu-io disk "{command}"'})
            event = await self.next_event(listener)
            self.assertTrue(listener.empty(), "the threshold is gone after the event")
        self.assertEqual(
            event["data"], {"node-name": "disk-file", "write-threshold": 1 << 20, "amount-exceeded": 4096})
        nodes = {node["node-name"]: node for node in await client.execute("query-named-block-nodes")}
        self.assertEqual(nodes["disk-file"]["write_threshold"], 0)

    async def test_all_clients_hear_of_events(self):
        clients = await self.connect(), await self.connect("second")
        await self.export(clients[0], "e")
        with clients[0].listener() as first, clients[1].listener() as second:
            await clients[1].execute("block-export-del", {"id": "e"})
            events = await self.next_event(first), await self.next_event(second)
        self.assertEqual([event["event"] for event in events], ["BLOCK_EXPORT_DELETED"] * 2)
        self.assertEqual(events[0]["timestamp"], events[1]["timestamp"])

    async def test_events_before_negotiation_are_not_sent(self):
        client = await self.connect()
        await self.export(client, "e")
        reader, writer = await asyncio.open_unix_connection(self.path("second.sock"))
        await reader.readline()
        await client.execute("block-export-del", {"id": "e"})
        writer.write(b'{"execute": "qmp_capabilities"}')
        self.assertEqual(await asyncio.wait_for(reader.readline(), PATIENCE), b'{"return": {}}\r\n')
        writer.close()
        await writer.wait_closed()
