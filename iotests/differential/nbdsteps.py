"""Directives that speak NBD."""

import os

import nbd
from daemon import PATIENCE
from files import byte_count, runs


class NBDSteps:
    """Mixed into the runner; uses its `directory`, `words`, `lines`, `nbd` and `nbd_address`."""

    def do_nbd_address(self, text):
        self.nbd_address = ("127.0.0.1", self.port) if text == "port" else os.path.join(self.directory, text)

    def negotiate(self, action):
        """Opens a connection for one exchange in the option phase."""
        client = None
        try:
            client = nbd.Client(self.nbd_address, PATIENCE)
            client.negotiate_structured()
            action(client)
        except (nbd.NBDError, OSError) as error:
            self.lines.append(self.normaliser.text(f"nbd: {getattr(error, 'strerror', None) or error}"))
        finally:
            if client is not None:
                client.close()

    def do_nbd_info(self, text):
        export, *queries = self.words(text) or [""]

        def action(client):
            contexts = client.meta(nbd.OPT_SET_META, export, queries) if queries else None
            self.lines += [f"{name}: {value}" for name, value in client.info(export).items()]
            if contexts is not None:
                self.lines.append(f"contexts: {' '.join(contexts)}")

        self.negotiate(action)

    def do_nbd_list(self, _):
        self.negotiate(lambda client: self.lines.extend(
            f"export {name!r}" + (f" {description!r}" if description else "") for name, description in client.list()))

    def do_nbd_contexts(self, text):
        export, *queries = self.words(text, 1)
        self.negotiate(lambda client: self.lines.extend(client.meta(nbd.OPT_LIST_META, export, queries)))

    def do_nbd_options(self, text):
        """Sends options as they are, all on one connection: NUMBER or NUMBER:PAYLOAD (Python escapes)."""
        try:
            client = nbd.Client(self.nbd_address, PATIENCE)
        except (nbd.NBDError, OSError) as error:
            self.lines.append(f"nbd: {error}")
            return
        for word in text.split():
            number, _, payload = word.partition(":")
            replies = []
            try:
                sent = payload.encode().decode("unicode_escape").encode("latin-1")
                for kind, data in client.option(int(number), sent):
                    replies.append({1: "ACK", 2: "SERVER", 3: "INFO", 4: "META_CONTEXT"}.get(kind, str(kind))
                                   + (f"({len(data)})" if data else ""))
            except (nbd.NBDError, OSError) as error:
                replies.append(self.normaliser.text(str(error)))
            self.lines.append(f"{number}: " + ", ".join(replies))
        client.close()

    def do_nbd(self, text):
        name, export, *queries = self.words(text, 2)
        try:
            client = nbd.Client(self.nbd_address, PATIENCE)
            client.go(export, queries)
            self.nbd[name] = client
            self.lines.append("connected" + (f" with {' '.join(client.contexts)}" if queries else ""))
        except (nbd.NBDError, OSError) as error:
            self.lines.append(f"nbd: {error}")

    def request(self, text, command, least=3, flags=0):
        """Runs one request; gives (client, words, result), the error already shown when there is one."""
        name, *words = self.words(text, least)
        if name not in self.nbd:
            self.lines.append("nbd: no such connection")
            return None, words, None
        offset, length = (byte_count(each) for each in (words + ["0", "0"])[:2])
        payload = bytes([int(words[2], 0)]) * length if command == nbd.CMD_WRITE else b""
        for option in words[2:]:
            flags |= {"fua": 1, "no-hole": 2, "fast": 16, "one": 8}.get(option, 0)
        try:
            error, result = self.nbd[name].request(command, offset, length, flags, payload)
        except (nbd.NBDError, OSError) as failure:
            self.lines.append(f"nbd: {failure}")
            self.nbd.pop(name).close()
            return None, words, None
        if error != "OK":
            self.lines.append(f"nbd: {error}")
            return None, words, None
        return self.nbd[name], words, result

    def do_nbd_read(self, text):
        client, _, data = self.request(text, nbd.CMD_READ)
        if client:
            self.lines.append(runs(data))

    def do_nbd_chunks(self, text):
        """Reads, and shows how many bytes came as data and whether holes came as such."""
        client, _, _ = self.request(text, nbd.CMD_READ)
        if client:
            data = sum(size - 8 for kind, size in client.chunks if kind == 1)
            holes = any(kind == 2 for kind, _ in client.chunks)
            self.lines.append(f"{data} bytes of data" + (", holes" if holes else ""))

    def do_nbd_write(self, text):
        self.finish_request(self.request(text, nbd.CMD_WRITE, 4))

    def do_nbd_zero(self, text):
        self.finish_request(self.request(text, nbd.CMD_ZERO))

    def do_nbd_trim(self, text):
        self.finish_request(self.request(text, nbd.CMD_TRIM))

    def do_nbd_cache(self, text):
        self.finish_request(self.request(text, nbd.CMD_CACHE))

    def do_nbd_flush(self, text):
        self.finish_request(self.request(text, nbd.CMD_FLUSH, 1))

    def finish_request(self, answer):
        if answer[0]:
            self.lines.append("done")

    def do_nbd_status(self, text):
        """Shows the extents of each context, neighbours of equal flags joined: servers may split as they like."""
        name, offset, length = self.words(text, 3)[:3]
        position, end = byte_count(offset), byte_count(offset) + byte_count(length)
        joined = {}
        while position < end:
            client, _, extents = self.request(f"{name} {position} {end - position}", nbd.CMD_STATUS)
            if not client:
                return
            covered = 0
            for context, context_id in client.contexts.items():
                pieces = extents.get(context_id, [])
                for size, flags in pieces:
                    found = joined.setdefault(context, [])
                    if found and found[-1][1] == flags:
                        found[-1][0] += size
                    else:
                        found.append([size, flags])
                covered = max(covered, sum(size for size, _ in pieces))
            if not covered or len(client.contexts) > 1:
                break
            position += covered
        for context, pieces in joined.items():
            self.lines.append(f"{context}: " + " ".join(f"{size}:{flags}" for size, flags in pieces))

    def do_nbd_close(self, text):
        if text in self.nbd:
            try:
                self.nbd.pop(text).disconnect()
            except OSError as error:
                self.lines.append(f"nbd: {error}")

    def do_nbd_gone(self, text):
        """Whether the server closes the connection."""
        if text not in self.nbd:
            self.lines.append("nbd: no such connection")
            return
        try:
            self.nbd[text].receive(1)
            self.lines.append("more data")
        except (nbd.NBDError, OSError) as error:
            self.lines.append(str(error))
