"""Makes small qcow2 images without any program's help: the measure must not depend on one of the programs under test.

The image of `@qcow2 NAME SIZE OPTION... [OFFSET:LENGTH:BYTE ...]` has all its tables in the first clusters. Options are NAME=VALUE:
version, cluster (bytes), backing, format (of the backing file), data-file, and the numbers incompatible, compatible, autoclear (feature bits),
refcount-order, crypt, header-length, compression; `extended` for subclusters. Patterns fill whole clusters.
"""

import struct

MAGIC = 0x514649FB
BACKING_FORMAT, DATA_FILE = 0xE2792ACA, 0x44415441
EXTENDED_L2, HAS_DATA_FILE = 16, 4
COPIED = 1 << 63


class Image:
    def __init__(self, size, options, patterns):
        self.size, self.options = size, options
        self.cluster = int(options.get("cluster", 65536))
        self.incompatible = int(options.get("incompatible", "0"), 0)
        if "extended" in options:
            self.incompatible |= EXTENDED_L2
        if "data-file" in options:
            self.incompatible |= HAS_DATA_FILE
        self.entry_size = 16 if self.incompatible & EXTENDED_L2 else 8
        self.entries = self.cluster // self.entry_size
        self.clusters = []
        self.header_cluster = self.add(bytes(self.cluster))
        self.table_cluster = self.add(bytes(self.cluster))
        self.block_cluster = self.add(bytes(self.cluster))
        self.l1_size = max(1, -(-size // (self.cluster * self.entries)))
        self.l1_cluster = self.add_table(self.l1_size * 8)
        self.l2 = {}
        for offset, length, byte in patterns:
            for at in range(offset, offset + length, self.cluster):
                self.fill(at // self.cluster, bytes([byte]) * self.cluster)
        self.write_tables()

    def add(self, content):
        self.clusters.append(bytearray(content))
        return len(self.clusters) - 1

    def add_table(self, length):
        first = len(self.clusters)
        for _ in range(-(-length // self.cluster)):
            self.add(bytes(self.cluster))
        return first

    def put(self, cluster, offset, form, *values):
        cluster, offset = cluster + offset // self.cluster, offset % self.cluster
        struct.pack_into(">" + form, self.clusters[cluster], offset, *values)

    def fill(self, number, content):
        table = number // self.entries
        if table not in self.l2:
            self.l2[table] = self.add(bytes(self.cluster))
            self.put(self.l1_cluster, table * 8, "Q", self.l2[table] * self.cluster | COPIED)
        at = number % self.entries * self.entry_size
        self.put(self.l2[table], at, "Q", self.add(content) * self.cluster | COPIED)
        if self.entry_size == 16:
            self.put(self.l2[table], at + 8, "Q", 0xFFFFFFFF)

    def write_tables(self):
        self.put(self.table_cluster, 0, "Q", self.block_cluster * self.cluster)
        for number in range(len(self.clusters)):
            self.put(self.block_cluster, number * 2, "H", 1)
        options = self.options
        version = int(options.get("version", 3))
        length = int(options.get("header-length", 112)) if version > 2 else 72
        extensions = b"".join(
            struct.pack(">II", kind, len(text)) + text + bytes(-len(text) % 8)
            for kind, text in ((BACKING_FORMAT, options.get("format", "").encode()),
                               (DATA_FILE, options.get("data-file", "").encode())) if text)
        extensions += bytes(8)
        backing = options.get("backing", "").encode()
        offset = length + len(extensions) if backing else 0
        header = struct.pack(
            ">IIQIIQIIQQIIQ", MAGIC, version, offset, len(backing), self.cluster.bit_length() - 1, self.size,
            int(options.get("crypt", 0)), self.l1_size, self.l1_cluster * self.cluster,
            self.table_cluster * self.cluster, 1, 0, 0)
        if version > 2:
            header += struct.pack(
                ">QQQIIBxxxxxxx", self.incompatible, int(options.get("compatible", "0"), 0),
                int(options.get("autoclear", "0"), 0), int(options.get("refcount-order", 4)), length,
                int(options.get("compression", 0)))
        self.clusters[self.header_cluster][:length] = header.ljust(length, b"\0")[:length]
        self.clusters[self.header_cluster][length:length + len(extensions)] = extensions
        if backing:
            self.clusters[self.header_cluster][offset:offset + len(backing)] = backing

    def content(self):
        return b"".join(self.clusters)
