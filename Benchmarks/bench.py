#!/usr/bin/python3
"""Measures cairn-storage-daemon and qemu-storage-daemon side by side, in alternating rounds, and prints medians and ratios.

The other daemon is $REFERENCE_QEMU (a program, or a folder that has it), else the qemu-storage-daemon of PATH. Files are in
$BENCH_DIR (default /dev/shm, so that memory and not a disk is measured). A ratio above 1 says that Cairn is better. Beside
it: the processor time that the daemons, or tools, take for a request, or run. Timings depend on the machine: they inform,
and decide no test.
"""

import argparse
import json
import os
import shutil
import sys

import backup
import bitmaps
import control
import convert
import exports
import fleecing
import scaling
from comparison import Comparison, Programs
from daemons import NBDLoad


def find_reference():
    """The daemon to compare with."""
    path = os.environ.get("REFERENCE_QEMU")
    if path and os.path.isdir(path):
        path = os.path.join(path, "qemu-storage-daemon")
    return path or shutil.which("qemu-storage-daemon") or sys.exit(
        "bench: no qemu-storage-daemon: set REFERENCE_QEMU to its folder")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subject", required=True,
                        help="path of cairn-storage-daemon, a release build, beside cairn-img and nbd-load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of load in each round")
    parser.add_argument("--size", type=int, default=256, help="of the disks of the rows of exports, in MiB")
    parser.add_argument("--filter", default="", help="rows whose names contain this")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    comparison = Comparison(
        Programs(options.subject, "cairn-img"), Programs(find_reference(), "qemu-img"),
        NBDLoad(os.path.join(os.path.dirname(options.subject), "nbd-load")),
        options.filter, options.rounds, options.seconds)

    exports.measure(comparison, options.size << 20)
    fleecing.measure(comparison)
    convert.measure(comparison)
    backup.measure(comparison)
    bitmaps.measure(comparison)
    control.measure(comparison)
    scaling.measure(comparison)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(comparison.figures, file, indent=2)


if __name__ == "__main__":
    main()
