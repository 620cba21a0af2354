#!/usr/bin/python3
"""Takes a live backup of a disk that is being written, and proves that it is right.

Makes an image with a file system on it, starts the daemon, and writes to the disk over NBD without a pause. Meanwhile it slides a
copy-before-write filter under the disk, reads the point in time through snapshot-access with nbdcopy, and takes the
filter out again. The backup must be what the disk was at one instant between sending the command that made the cut
and reading its answer: the writer keeps a journal, and every instant in between is tried.
"""

import argparse
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

import nbd

DISK_SIZE = 256 << 20
FILES = 200


class QMP:
    """A QMP connection that runs one command at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            reply = json.loads(self.stream.readline())
            if "error" in reply:
                sys.exit(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]


class Writer(threading.Thread):
    """Writes at random places, one request after the other, and keeps a journal of what it asked for."""

    def __init__(self, uri, seed):
        super().__init__(daemon=True)
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.random = random.Random(seed)
        self.journal = []
        self.completed = 0
        self.stopping = False

    def run(self):
        while not self.stopping:
            number = len(self.journal)
            length = self.random.choice((512, 4096, 10000, 65536))
            offset = self.random.randrange(DISK_SIZE - length)
            data = (number.to_bytes(8, "little") * (length // 8 + 1))[:length]
            self.journal.append((offset, data))
            self.handle.pwrite(data, offset)
            self.completed = number + 1

    def stop(self):
        self.stopping = True
        self.join()
        self.handle.shutdown()


def make_disk(directory):
    """An image with an ext4 file system that holds random files."""
    tree = os.path.join(directory, "tree")
    os.mkdir(tree)
    generator = random.Random(7)
    for number in range(FILES):
        with open(os.path.join(tree, f"file{number:03}"), "wb") as file:
            file.write(generator.randbytes(generator.randrange(1000, 500000)))
    disk = os.path.join(directory, "disk.img")
    with open(disk, "wb") as file:
        file.truncate(DISK_SIZE)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, disk], check=True)
    return disk


def matching_instant(original, backup, journal, earliest, latest):
    """How many journal entries make the original into the backup, between the two bounds; None where none does."""
    state = bytearray(original)
    for offset, data in journal[:earliest]:
        state[offset:offset + len(data)] = data
    for count in range(earliest, latest + 1):
        if state == backup:
            return count
        if count < latest:
            offset, data = journal[count]
            state[offset:offset + len(data)] = data
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--daemon", required=True, help="path of cairn-storage-daemon")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the writer's random numbers")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="cairn-demo-") as directory:
        def path(name):
            return os.path.join(directory, name)

        disk = make_disk(directory)
        print(f"1. Made disk.img: {DISK_SIZE >> 20} MiB, ext4 with {FILES} files.")
        with open(disk, "rb") as file:
            original = file.read()
        with open(path("scratch.img"), "wb") as file:
            file.truncate(DISK_SIZE)

        daemon = subprocess.Popen([
            options.daemon,
            "--blockdev", f"driver=file,node-name=disk-file,filename={disk}",
            "--blockdev", "driver=raw,node-name=disk,file=disk-file",
            "--blockdev", f"driver=file,node-name=scratch,filename={path('scratch.img')},discard=unmap",
            "--object", "iothread,id=io0",
            "--nbd-server", f"addr.type=unix,addr.path={path('nbd.sock')}",
            "--export", "nbd,id=guest,node-name=disk,writable=on,iothread=io0",
            "--chardev", f"socket,id=qmp,path={path('qmp.sock')},server=on,wait=off",
            "--monitor", "chardev=qmp",
        ])
        try:
            qmp = QMP(path("qmp.sock"))
            print("2. Started the daemon; it exports the disk over NBD.")
            writer = Writer(f"nbd+unix:///disk?socket={path('nbd.sock')}", options.seed)
            writer.start()
            while writer.completed < 500:
                time.sleep(0.01)
            print(f"3. A guest is writing at random places (seed {options.seed}).")

            qmp("blockdev-add", driver="copy-before-write", node_name="cbw", file="disk-file", target="scratch")
            earliest = writer.completed
            qmp("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk", "file": "cbw"}])
            latest = len(writer.journal)
            qmp("blockdev-add", driver="snapshot-access", node_name="snapshot", file="cbw")
            qmp("block-export-add", type="nbd", id="backup", node_name="snapshot")
            print(f"4. Cut: somewhere between write {earliest} and write {latest}, without a pause for the guest.")

            before = writer.completed
            begin = time.monotonic()
            print("5. nbdcopy pulls the point in time:", flush=True)
            subprocess.run(
                ["nbdcopy", "--progress", f"nbd+unix:///snapshot?socket={path('nbd.sock')}", path("backup.img")],
                check=True)
            seconds = time.monotonic() - begin
            during = writer.completed - before
            copied = qmp("query-dirty-bitmaps", node_name="cbw")["cbw"][1]["count"]
            print(f"6. Done in {seconds:.1f} s, while the guest wrote {during} times;"
                  f" {copied >> 20} MiB of old data went to the scratch image first.")

            qmp("block-export-del", id="backup", mode="hard")
            while qmp("query-block-exports")[0]["id"] == "backup" or len(qmp("query-block-exports")) > 1:
                time.sleep(0.01)
            qmp("blockdev-del", node_name="snapshot")
            qmp("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk", "file": "disk-file"}])
            qmp("blockdev-del", node_name="cbw")
            more = writer.completed
            while writer.completed < more + 100:
                time.sleep(0.01)
            writer.stop()
            print(f"7. Took the filter out; the guest went on to write {writer.completed} times in all.")
            qmp("quit")
            status = daemon.wait(timeout=30)
        finally:
            daemon.kill()

        with open(path("backup.img"), "rb") as file:
            backup = file.read()
        instant = matching_instant(original, backup, writer.journal, earliest, latest)
        if instant is None:
            sys.exit("The backup is NOT what the disk was at any instant of the cut.")
        print(f"8. The backup is bit-identical to the disk after write {instant}"
              f" (sha256 {hashlib.sha256(backup).hexdigest()[:16]}...).")
        with open(disk, "rb") as file:
            now = file.read()
        if matching_instant(original, now, writer.journal, writer.completed, writer.completed) is None:
            sys.exit("The disk is NOT what the guest wrote.")
        print(f"9. The disk holds all {writer.completed} writes, and the daemon ended with status {status}.")


if __name__ == "__main__":
    main()
