"""A small NBD client: enough to see what a server offers and to read and write through it. Spec: nbd-protocol.md."""

import socket
import struct

NBD_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_MAGIC = 0x67446698
STRUCTURED_MAGIC = 0x668E33EF

OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 2, 3, 6, 7
OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 8, 9, 10
REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 1, 2, 3

CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZERO, CMD_STATUS = range(8)
CMD_FLAG_FUA, CMD_FLAG_NO_HOLE, CMD_FLAG_DF, CMD_FLAG_REQ_ONE, CMD_FLAG_FAST_ZERO = 1, 2, 4, 8, 16

FLAG_NAMES = [
    "has-flags", "read-only", "flush", "fua", "rotational", "trim", "write-zeroes", "df", "multi-conn", "resize",
    "cache", "fast-zero", "block-status-payload",
]
ERROR_NAMES = {
    0: "OK", 1: "EPERM", 5: "EIO", 12: "ENOMEM", 22: "EINVAL", 28: "ENOSPC", 75: "EOVERFLOW", 95: "ENOTSUP",
    108: "ESHUTDOWN",
}
REP_ERRORS = {
    1: "UNSUP", 2: "POLICY", 3: "INVALID", 4: "PLATFORM", 5: "TLS_REQD", 6: "UNKNOWN", 7: "SHUTDOWN",
    8: "BLOCK_SIZE_REQD", 9: "TOO_BIG", 10: "EXT_HEADER_REQD",
}


class NBDError(Exception):
    """The server refused, or left."""


class Client:
    """One connection; negotiates on demand."""

    def __init__(self, address, timeout):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.cookie = 0
        self.contexts = {}
        magic, option_magic, flags = struct.unpack(">QQH", self.receive(18))
        if (magic, option_magic) != (NBD_MAGIC, OPTION_MAGIC):
            raise NBDError("not an NBD server")
        self.handshake_flags = flags
        self.socket.sendall(struct.pack(">I", flags & 3))
        self.structured = False
        #: (type, length) of each chunk of the last structured reply.
        self.chunks = []

    def receive(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise NBDError("the server closed the connection")
            data += more
        return data

    def option(self, option, payload=b""):
        """Sends an option; yields its replies (type, payload) up to and with the last one."""
        self.socket.sendall(struct.pack(">QII", OPTION_MAGIC, option, len(payload)) + payload)
        while True:
            magic, echoed, kind, length = struct.unpack(">QIII", self.receive(20))
            data = self.receive(length)
            if magic != REPLY_MAGIC or echoed != option:
                raise NBDError("malformed option reply")
            if kind & 0x80000000:
                name = REP_ERRORS.get(kind & 0x7FFFFFFF, str(kind & 0x7FFFFFFF))
                raise NBDError(f"{name}: {data.decode(errors='replace')}" if data else name)
            yield kind, data
            if kind == REP_ACK:
                return

    def negotiate_structured(self):
        list(self.option(OPT_STRUCTURED))
        self.structured = True

    def list(self):
        """The names and descriptions of the exports offered."""
        found = []
        for kind, data in self.option(OPT_LIST):
            if kind == REP_SERVER:
                (length,) = struct.unpack_from(">I", data)
                found.append((data[4:4 + length].decode(), data[4 + length:].decode()))
        return found

    def meta(self, option, export, queries):
        """Lists or selects meta contexts: {name: id}."""
        name = export.encode()
        payload = struct.pack(">I", len(name)) + name + struct.pack(">I", len(queries))
        for query in queries:
            payload += struct.pack(">I", len(query.encode())) + query.encode()
        found = {}
        for kind, data in self.option(option, payload):
            if kind == REP_META:
                found[data[4:].decode()] = struct.unpack_from(">I", data)[0]
        return found

    def info(self, export, option=OPT_INFO):
        """What the server says of one export: a dictionary for printing."""
        name = export.encode()
        wanted = [INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE]
        payload = struct.pack(">I", len(name)) + name + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)
        answer = {}
        for kind, data in self.option(option, payload):
            if kind != REP_INFO:
                continue
            (what,) = struct.unpack_from(">H", data)
            if what == INFO_EXPORT:
                size, flags = struct.unpack_from(">QH", data, 2)
                answer["size"] = size
                answer["flags"] = [each for bit, each in enumerate(FLAG_NAMES) if flags >> bit & 1]
            elif what == INFO_NAME:
                answer["name"] = data[2:].decode()
            elif what == INFO_DESCRIPTION:
                answer["description"] = data[2:].decode()
            elif what == INFO_BLOCK_SIZE:
                answer["block-size"] = list(struct.unpack_from(">III", data, 2))
        return answer

    def go(self, export, queries):
        """Enters transmission with the meta contexts selected."""
        self.negotiate_structured()
        if queries:
            self.contexts = self.meta(OPT_SET_META, export, queries)
        return self.info(export, OPT_GO)

    def request(self, command, offset=0, length=0, flags=0, payload=b""):
        """Sends one request; gives (error name, data or extents)."""
        self.cookie += 1
        header = struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command, self.cookie, offset, length)
        self.socket.sendall(header + payload)
        data, extents, error = bytearray(length if command == CMD_READ else 0), {}, "OK"
        self.chunks = []
        while True:
            (magic,) = struct.unpack(">I", self.receive(4))
            if magic == SIMPLE_MAGIC:
                code, _ = struct.unpack(">IQ", self.receive(12))
                return ERROR_NAMES.get(code, str(code)), bytes(data)
            if magic != STRUCTURED_MAGIC:
                raise NBDError("malformed reply")
            chunk_flags, kind, _, size = struct.unpack(">HHQI", self.receive(16))
            body = self.receive(size)
            self.chunks.append((kind, size))
            if kind == 1:
                (at,) = struct.unpack_from(">Q", body)
                data[at - offset:at - offset + size - 8] = body[8:]
            elif kind == 5:
                (context,) = struct.unpack_from(">I", body)
                extents[context] = [struct.unpack_from(">II", body, at) for at in range(4, size, 8)]
            elif kind & 0x8000:
                (code,) = struct.unpack_from(">I", body)
                error = ERROR_NAMES.get(code, str(code))
            if chunk_flags & 1:
                return error, extents if command == CMD_STATUS else bytes(data)

    def disconnect(self):
        """Says goodbye and waits for the server to close."""
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, CMD_DISC, 0, 0, 0))
        while self.socket.recv(1 << 16):
            pass
        self.close()

    def close(self):
        self.socket.close()
