#!/usr/bin/env python3
"""Makes Tests/BlockDriversTests/Fixtures/qcow2-images.bin: small images of all feature kinds, made by qemu-img and qemu-io.

Each image is stored as: length of its name, name, length of the image, length of the data (4 bytes, big-endian), and the
image as raw deflate data. Run it in an empty directory; the argument is the file to write.
"""
import os
import struct
import subprocess
import sys
import zlib

WRITES = ["write -P 1 0 64k", "write -P 2 100k 20k", "write -z 64k 32k", "write -P 3 180k 60k"]
MORE = ["write -P 4 32k 48k", "write -P 5 140k 10k"]
COMPRESSED = ["write -c -P 7 0 64k", "write -c -P 8 64k 64k", "write -P 3 140k 30k", "write -c -P 9 192k 64k"]
COMPRESSED_4K = ["write -c -P 7 0 4k", "write -c -P 8 4k 4k", "write -P 3 140k 30k", "write -c -P 9 192k 4k"]

IMAGES = [
    # name, options, first writes, snapshots, writes after each snapshot, bitmaps
    ("plain-512", "cluster_size=512", WRITES, 0, [], 0),
    ("plain-4k", "cluster_size=4k", WRITES, 0, [], 0),
    ("plain-64k", "", WRITES, 0, [], 0),
    ("plain-2m", "cluster_size=2M", [], 0, [], 0),
    ("v2-1k", "compat=0.10,cluster_size=1k", WRITES, 1, MORE, 0),
    ("snapshots-1k", "cluster_size=1k", WRITES, 2, MORE, 0),
    ("snapshots-64k", "", WRITES, 1, MORE, 0),
    ("refcount-1", "cluster_size=512,refcount_bits=1", WRITES, 0, [], 0),
    ("refcount-2", "cluster_size=2k,refcount_bits=2", WRITES, 1, MORE, 0),
    ("refcount-64", "cluster_size=512,refcount_bits=64", WRITES, 1, MORE, 0),
    ("extended-16k", "cluster_size=16k,extended_l2=on", WRITES, 1, MORE, 0),
    ("extended-backing", "cluster_size=16k,extended_l2=on,backing_file=base.raw,backing_fmt=raw", WRITES, 0, [], 0),
    ("compressed-64k", "", COMPRESSED, 0, [], 0),
    ("compressed-4k", "cluster_size=4k", COMPRESSED_4K, 1, MORE, 0),
    ("zstd-64k", "compression_type=zstd", COMPRESSED, 0, [], 0),
    ("bitmaps-4k", "cluster_size=4k", WRITES, 0, [], 3),
    ("bitmaps-512", "cluster_size=512", WRITES, 0, [], 2),
    ("lazy-1k", "cluster_size=1k,lazy_refcounts=on", WRITES, 0, [], 0),
    ("data-file", "cluster_size=4k,data_file=data.bin", WRITES, 0, [], 0),
    ("data-file-raw", "cluster_size=4k,data_file=rawdata.bin,data_file_raw=on", WRITES, 0, [], 0),
    ("backing-4k", "cluster_size=4k,backing_file=base.raw,backing_fmt=raw", WRITES, 0, [], 0),
]


def run(*arguments):
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def make(name, options, writes, snapshots, more, bitmaps):
    run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), name, "256k")
    for number in range(snapshots + 1):
        for command in more if number else writes:
            run("qemu-io", "-f", "qcow2", "-c", command, name)
        if number < snapshots:
            run("qemu-img", "snapshot", "-c", f"s{number}", name)
    for number in range(bitmaps):
        run("qemu-img", "bitmap", "--add", *(["-g", "512"] if number % 2 else []), name, f"b{number}")
    if bitmaps:
        run("qemu-io", "-f", "qcow2", "-c", "write 0 64k", "-c", "write 200k 4k", name)
    with open(name, "rb") as file:
        return file.read()


run("qemu-img", "create", "-q", "-f", "raw", "base.raw", "256k")
with open(sys.argv[1], "wb") as out:
    for image in IMAGES:
        data = make(*image)
        packer = zlib.compressobj(9, zlib.DEFLATED, -12)
        packed = packer.compress(data) + packer.flush()
        name = image[0].encode()
        out.write(struct.pack(">I", len(name)) + name + struct.pack(">II", len(data), len(packed)) + packed)
