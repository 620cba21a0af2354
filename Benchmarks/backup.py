"""Rows of the benchmark about jobs that copy disks: backups, full and incremental, and mirrors, alone and under a guest's writes.

A job's time is that from the command to the event of its end; a mirror's also that until it is ready.
"""

import os
import random
import subprocess
import threading
import time

import nbd
from convert import MIB, Images
from daemons import Daemon

SIZE = 1024
# The disk of which 1 % has changed.
LARGE = 16384
CLUSTER = 65536

# name, image to read, format of the target
ROWS = [
    ("backup raw to raw, full", "raw", "raw"),
    ("backup raw to raw, sparse", "sparse raw", "raw"),
    ("backup qcow2 to qcow2, full", "qcow2", "qcow2"),
    ("backup qcow2 to qcow2, sparse", "sparse qcow2", "qcow2"),
    ("backup raw to qcow2, full", "raw", "qcow2"),
    ("backup qcow2 to raw, full", "qcow2", "raw"),
]

# The same, and whether the target has all its blocks already: else both programs wait for the kernel, which makes new pages of
# tmpfs for one write at a time into a file.
MIRRORS = [
    ("mirror raw to raw, full", "raw", "raw", False),
    ("mirror raw to raw, full, allocated target", "raw", "raw", True),
    ("mirror raw to raw, sparse", "sparse raw", "raw", False),
    ("mirror qcow2 to qcow2, full", "qcow2", "qcow2", False),
    ("mirror qcow2 to qcow2, sparse", "sparse qcow2", "qcow2", False),
]
# What the guest of one row writes: so many requests in a second, so many at a time.
GUEST_RATE = 5000
GUEST_BATCH = 16


class Disks:
    """A daemon with a source and a target. To be used in `with`."""

    def __init__(self, program, images, source, form, size=SIZE, allocated=False):
        self.folder = images.folder.name
        self.target = images.path("target")
        with open(self.target, "wb") as file:
            file.truncate(size * MIB)
            if allocated:
                for _ in range(size):
                    file.write(bytes(MIB))
        if form == "qcow2":
            subprocess.run([images.tool, "create", "-q", "-f", "qcow2", self.target, f"{size}M"], check=True)
        self.daemon = Daemon(program, self.folder, "--object", "iothread,id=io0")
        self.daemon.add("source", *source)
        self.daemon.add("target", self.target, form)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.daemon.__exit__(*error)
        os.unlink(self.target)

    def export(self, node, **options):
        """Exports a node over NBD; the path of the socket."""
        path = os.path.join(self.folder, "nbd.sock")
        self.daemon.export(node, path, writable=True, **options)
        return path

    def start(self, command, **arguments):
        """Starts a job, and the clock."""
        self.used = self.daemon.processor_time()
        self.began = time.monotonic()
        self.daemon.send(command, job_id="job", device="source", target="target", **arguments)

    def event(self, name):
        """Waits for an event of the job; the seconds since its start, and those of the processors."""
        self.daemon.wait(name)
        return time.monotonic() - self.began, self.daemon.processor_time() - self.used


def backup(program, images, source, form):
    with Disks(program, images, source, form) as disks:
        disks.start("blockdev-backup", sync="full")
        return disks.event("BLOCK_JOB_COMPLETED")


def incremental(program, images, source, form):
    """As `backup`, of the clusters that have been written since a bitmap was made: 1 % of them, anywhere."""
    with Disks(program, images, source, form, LARGE) as disks:
        disks.daemon("block-dirty-bitmap-add", node="source", name="changes", granularity=CLUSTER)
        # Without an iothread: QEMU 11.1.3 aborts when a backup starts on a node that is exported from one.
        client = nbd.Client(disks.export("source"), "source")
        client.write(changed_clusters(), bytes(range(256)) * 16)
        client.close()
        disks.start("blockdev-backup", sync="bitmap", bitmap="changes", bitmap_mode="on-success")
        return disks.event("BLOCK_JOB_COMPLETED")


def changed_clusters():
    count = LARGE * MIB // CLUSTER
    return [index * CLUSTER for index in random.Random(2).sample(range(count), count // 100)]


def scattered_source(images, form):
    """A large image that has data only in the clusters that will change."""
    path = images.path(f"scattered {form}")
    if not os.path.exists(path):
        raw = images.path("content")
        data = random.Random(3).randbytes(CLUSTER)
        with open(raw, "wb") as file:
            file.truncate(LARGE * MIB)
            for offset in changed_clusters():
                file.seek(offset)
                file.write(data)
        if form == "qcow2":
            subprocess.run([images.tool, "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
            os.unlink(raw)
        else:
            os.rename(raw, path)
    return path, form


def mirror(program, images, source, form, allocated):
    """The figures until the mirror is ready, and until it is completed."""
    with Disks(program, images, source, form, allocated=allocated) as disks:
        disks.start("blockdev-mirror", sync="full")
        ready = disks.event("BLOCK_JOB_READY")
        disks.daemon("block-job-complete", device="job")
        return [ready, disks.event("BLOCK_JOB_COMPLETED")]


def mirror_of_guest(program, images, source):
    """As `mirror`, until it is ready, while a guest writes at the same rate to both programs, and waits for both sides."""
    with Disks(program, images, source, "raw") as disks:
        client = nbd.Client(disks.export("source", iothread="io0"), "source")
        stopped = threading.Event()

        def write():
            numbers = random.Random(4)
            next_batch = time.monotonic()
            while not stopped.is_set():
                client.write([numbers.randrange(SIZE * MIB // 4096) * 4096 for _ in range(GUEST_BATCH)], bytes(4096))
                next_batch += GUEST_BATCH / GUEST_RATE
                time.sleep(max(0, next_batch - time.monotonic()))

        guest = threading.Thread(target=write)
        guest.start()
        try:
            time.sleep(0.1)
            disks.start("blockdev-mirror", sync="full", copy_mode="write-blocking")
            return disks.event("BLOCK_JOB_READY")
        finally:
            stopped.set()
            guest.join()
            client.close()


def guest_of_mirror(program, images, source, load, depth, seconds):
    """A guest's requests for each second once a mirror is ready that has it wait for both sides."""
    with Disks(program, images, source, "raw") as disks:
        path = disks.export("source", iothread="io0")
        disks.start("blockdev-mirror", sync="full", copy_mode="write-blocking")
        disks.event("BLOCK_JOB_READY")
        before = disks.daemon.processor_time()
        result = load.run(path, "source", "randwrite", block_size=4096, depth=depth, seconds=seconds)
        return result["iops"], (disks.daemon.processor_time() - before) / max(1, result["requests"])


def measure(comparison):
    """Measures the rows."""
    images = Images(comparison.reference.tool)

    def source_of(kind):
        images.forget(keep=kind)
        return images.source(kind, SIZE)

    with images.folder:
        for name, kind, form in ROWS:
            if comparison.wants(name):
                source = source_of(kind)
                comparison.row(name, "s", lambda programs: backup(programs.daemon, images, source, form))
        for form in ("raw", "qcow2"):
            name = f"backup {form} to {form}, 1 % of 16 GiB that changed"
            if comparison.wants(name):
                images.forget(keep=f"scattered {form}")
                source = scattered_source(images, form)
                comparison.row(name, "s", lambda programs: incremental(programs.daemon, images, source, form))
        for name, kind, form, allocated in MIRRORS:
            names = [f"{name}, until ready", f"{name}, until completed"]
            if any(map(comparison.wants, names)):
                source = source_of(kind)
                comparison.rows(names, ["s", "s"], lambda programs: mirror(
                    programs.daemon, images, source, form, allocated))
        name = f"mirror raw to raw, write-blocking, guest writes {GUEST_RATE:,}/s, until ready"
        if comparison.wants(name):
            source = source_of("raw")
            comparison.row(name, "s", lambda programs: mirror_of_guest(programs.daemon, images, source))
        for depth in (1, 16):
            name = f"mirror raw to raw, write-blocking: 4 KiB random write, depth {depth}"
            if comparison.wants(name):
                source = source_of("raw")
                comparison.row(name, "1/s", lambda programs: guest_of_mirror(
                    programs.daemon, images, source, comparison.load, depth, comparison.seconds))
