"""Rows of the benchmark about full backups, as jobs of the two daemons, from the command to the event of their end."""

import os
import subprocess
import time

from convert import MIB, Images
from daemons import Daemon

SIZE = 1024

# name, image to read, format of the target
ROWS = [
    ("backup raw to raw, full", "raw", "raw"),
    ("backup raw to raw, sparse", "sparse raw", "raw"),
    ("backup qcow2 to qcow2, full", "qcow2", "qcow2"),
    ("backup qcow2 to qcow2, sparse", "sparse qcow2", "qcow2"),
    ("backup raw to qcow2, full", "raw", "qcow2"),
    ("backup qcow2 to raw, full", "qcow2", "raw"),
]


def backup(program, images, source, form):
    """Seconds that a job takes, and those of the processors."""
    target = images.path("target")
    with open(target, "wb") as file:
        file.truncate(SIZE * MIB)
    if form == "qcow2":
        subprocess.run([images.tool, "create", "-q", "-f", "qcow2", target, str(SIZE * MIB)], check=True)
    with Daemon(program, images.folder.name) as daemon:
        daemon.add("source", *source)
        daemon.add("target", target, form)
        before = daemon.processor_time()
        start = time.monotonic()
        daemon.send("blockdev-backup", job_id="job", device="source", target="target", sync="full")
        daemon.wait("BLOCK_JOB_COMPLETED")
        figures = time.monotonic() - start, daemon.processor_time() - before
    os.unlink(target)
    return figures


def measure(comparison):
    """Measures the rows."""
    images = Images(comparison.reference.tool)
    with images.folder:
        for name, kind, form in ROWS:
            if not comparison.wants(name):
                continue
            images.forget(keep=kind)
            source = images.source(kind, SIZE)
            comparison.row(name, "s", lambda programs: backup(programs.daemon, images, source, form))
