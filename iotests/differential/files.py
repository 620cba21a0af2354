"""Directives that make, change and look at files of the case's directory."""

import os
import socket
import time

import qcow2
from daemon import PATIENCE


class FileSteps:
    """Mixed into the runner; uses its `directory`, `words` and `lines`."""

    def path(self, name):
        return os.path.join(self.directory, name)

    def do_file(self, text):
        name, size, *patterns = self.words(text, 2)
        with open(self.path(name), "wb") as file:
            file.truncate(byte_count(size))
            for pattern in patterns:
                offset, length, byte = pattern.split(":")
                file.seek(byte_count(offset))
                file.write(bytes([int(byte, 0)]) * byte_count(length))

    def do_qcow2(self, text):
        name, size, *rest = self.words(text, 2)
        options, patterns = {}, []
        for word in rest:
            key, equals, value = word.partition("=")
            if equals or not word[0].isdigit():
                options[key] = value
            else:
                offset, length, byte = word.split(":")
                patterns.append((byte_count(offset), byte_count(length), int(byte, 0)))
        with open(self.path(name), "wb") as file:
            file.write(qcow2.Image(byte_count(size), options, patterns).content())

    def do_patch(self, text):
        """Overwrites bytes of a file, given in hexadecimal."""
        name, offset, content = self.words(text, 3)
        with open(self.path(name), "r+b") as file:
            file.seek(byte_count(offset))
            file.write(bytes.fromhex(content))

    def do_write(self, text):
        name, content = text.split(None, 1)
        with open(self.path(name), "wb") as file:
            file.write(content.encode().decode("unicode_escape").encode("latin-1"))

    def do_mkdir(self, text):
        os.mkdir(self.path(text))

    def do_symlink(self, text):
        target, name = self.words(text, 2)
        os.symlink(target, self.path(name))

    def do_chmod(self, text):
        mode, name = self.words(text, 2)
        os.chmod(self.path(name), int(mode, 8))

    def do_remove(self, text):
        os.remove(self.path(text))

    def do_stale_socket(self, text):
        """A socket in the file system that nobody listens on."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(self.path(text))

    def do_exists(self, text):
        self.lines.append("yes" if os.path.lexists(self.path(text)) else "no")

    def do_await_gone(self, text):
        """Waits until somebody removes the file."""
        deadline = time.monotonic() + PATIENCE
        while os.path.lexists(self.path(text)) and time.monotonic() < deadline:
            time.sleep(0.005)
        self.lines.append("still there" if os.path.lexists(self.path(text)) else "gone")

    def do_mode(self, text):
        self.lines.append(oct(os.stat(self.path(text)).st_mode))

    def do_size(self, text):
        self.lines.append(str(os.path.getsize(self.path(text))))

    def do_bytes(self, text):
        """Shows a range of a file as runs of equal bytes."""
        name, offset, length = self.words(text, 3)
        with open(self.path(name), "rb") as file:
            file.seek(byte_count(offset))
            self.lines.append(runs(file.read(byte_count(length))))


def runs(data):
    """Bytes as `0x11*512 0x00*512`."""
    found, at = [], 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] == data[at]:
            end += 1
        found.append(f"0x{data[at]:02x}*{end - at}")
        at = end
    return " ".join(found)


def byte_count(text):
    """`64k`, `1M`, `0x200`, `512`."""
    units = {"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1], 0) * units[text[-1]] if text[-1] in units else int(text, 0)
