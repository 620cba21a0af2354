"""Rows of the benchmark about cairn-img and qemu-img: converting images, as one process each."""

import os
import random
import subprocess
import time

from daemons import folder

MIB = 1 << 20

# name, image to read, arguments of convert, MiB of the disk
ROWS = [
    ("convert raw to qcow2, full", "raw", ["-O", "qcow2"], 2048),
    ("convert qcow2 to raw, full", "qcow2", ["-O", "raw"], 2048),
    ("convert qcow2 to qcow2, full", "qcow2", ["-O", "qcow2"], 2048),
    ("convert raw to qcow2, sparse", "sparse raw", ["-O", "qcow2"], 2048),
    ("convert qcow2 to raw, sparse", "sparse qcow2", ["-O", "raw"], 2048),
    ("convert qcow2 to qcow2, sparse", "sparse qcow2", ["-O", "qcow2"], 2048),
    ("convert raw to qcow2, -c", "text", ["-c", "-O", "qcow2"], 256),
    ("convert compressed qcow2 to raw", "compressed", ["-O", "raw"], 512),
]


def write_disk(path, kind, size):
    """A raw disk: random bytes, the same with holes between (1 MiB in 16 is there), or bytes that compress by half."""
    numbers = random.Random(1)
    block = numbers.randbytes(MIB)
    if kind == "text":
        block = bytes(byte & 15 for byte in block)
    with open(path, "wb") as file:
        file.truncate(size * MIB)
        for index in range(size):
            if "sparse" in kind and index % 16:
                continue
            file.seek(index * MIB)
            # No two blocks alike.
            cut = index * 4099 % MIB
            file.write(block[cut:] + block[:cut])


class Images:
    """The images that are read, made with qemu-img when they are first asked for, in a folder that goes with them."""

    def __init__(self, tool):
        self.tool = tool
        self.folder = folder()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def source(self, kind, size):
        """The path and format of an image of a kind."""
        sparse = "sparse " if "sparse" in kind else ""
        content = "text" if kind in ("text", "compressed") else sparse + "raw"
        image = self.path(kind)
        if not os.path.exists(image):
            raw = self.path("content")
            write_disk(raw, content, size)
            if "qcow2" in kind or kind == "compressed":
                compressed = ["-c"] if kind == "compressed" else []
                subprocess.run([self.tool, "convert", *compressed, "-f", "raw", "-O", "qcow2", raw, image], check=True)
                os.unlink(raw)
            else:
                os.rename(raw, image)
        return image, "qcow2" if "qcow2" in kind or kind == "compressed" else "raw"

    def forget(self, keep):
        """Removes what the next row does not read, as memory is scarce."""
        for name in os.listdir(self.folder.name):
            if name != keep:
                os.unlink(self.path(name))


def convert(tool, source, arguments, target):
    """Seconds that a conversion takes, and those of the processors."""
    image, kind = source
    before = os.times()
    start = time.monotonic()
    # Without a limit: Python waits for a process with one by looking every 50 ms.
    subprocess.run([tool, "convert", "-f", kind, *arguments, image, target], check=True)
    duration = time.monotonic() - start
    after = os.times()
    os.unlink(target)
    return duration, after.children_user + after.children_system - before.children_user - before.children_system


def measure(comparison):
    """Measures the rows."""
    images = Images(comparison.reference.tool)
    with images.folder:
        for name, kind, arguments, size in ROWS:
            if not comparison.wants(name):
                continue
            images.forget(keep=kind)
            source = images.source(kind, size)
            comparison.row(name, "s", lambda programs: convert(programs.tool, source, arguments, images.path("target")))
