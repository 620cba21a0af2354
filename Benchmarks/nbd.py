"""A small NBD client for what a row sets up or walks through; no load generator."""

import socket
import struct

WRITE, BLOCK_STATUS = 1, 7
BASE = 1 << 31


class Client:
    """A connection to an export over a Unix socket, with block status of one context where that is asked for."""

    def __init__(self, path, export, context=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb", buffering=1 << 20)
        self.stream.read(18)
        self.socket.sendall(struct.pack(">I", 3))  # Fixed, no zeroes.
        self.option(8, b"")
        if context:
            self.option(10, self.name(export) + struct.pack(">I", 1) + self.name(context))
        self.option(7, self.name(export) + struct.pack(">H", 0))

    @staticmethod
    def name(text):
        data = text.encode()
        return struct.pack(">I", len(data)) + data

    def option(self, number, data):
        """Sends an option, and reads its replies to the last one; the size of the export is noted."""
        self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data)
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.stream.read(20))
            body = self.stream.read(length)
            if kind & BASE:
                raise RuntimeError(f"NBD option {number}: error {kind & ~BASE}")
            if kind == 3 and struct.unpack(">H", body[:2])[0] == 0:
                self.size = struct.unpack(">Q", body[2:10])[0]
            if kind == 1:
                return

    def write(self, offsets, data, batch=64):
        """Writes the same bytes at many offsets, several at the same time."""
        offsets = list(offsets)
        for start in range(0, len(offsets), batch):
            part = offsets[start:start + batch]
            self.socket.sendall(b"".join(
                struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 0, offset, len(data)) + data for offset in part))
            self.finish(len(part))

    def finish(self, count):
        """Reads the replies of so many writes."""
        while count:
            header = self.stream.read(4)
            if header == b"\x67\x44\x66\x98":
                error, _ = struct.unpack(">IQ", self.stream.read(12))
            else:
                _, kind, _, length = struct.unpack(">HHQI", self.stream.read(16))
                self.stream.read(length)
                error = kind & 0x8000
            if error:
                raise RuntimeError(f"NBD write: error {error}")
            count -= 1

    def walk(self, step=(1 << 32) - (1 << 20), ahead=32):
        """Asks for all extents of the context, some requests ahead of the replies; their number."""
        count = asked = told = 0
        while told < self.size:
            while asked < min(self.size, told + ahead * step):
                length = min(step, self.size - asked)
                self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, BLOCK_STATUS, 0, asked, length))
                asked += length
            lengths = self.extents()
            told += sum(lengths)
            count += len(lengths)
            if told % step and told < self.size:
                raise RuntimeError("NBD block status: not all of what was asked for")
        return count

    def extents(self):
        """The lengths of the extents in the next reply."""
        lengths, done = (), False
        while not done:
            _, flags, kind, _, size = struct.unpack(">IHHQI", self.stream.read(20))
            body = self.stream.read(size)
            if kind & 0x8000:
                raise RuntimeError(f"NBD block status: error chunk {kind}")
            if kind == 5:
                lengths = struct.unpack(f">{size // 4}I", body)[1::2]
            done = flags & 1
        return lengths

    def close(self):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
        self.stream.close()
        self.socket.close()
