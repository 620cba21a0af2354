#!/usr/bin/env python3
"""Copies random images with cairn-img and with qemu-img, and holds the results against each other.

    convert.py --subject .build/debug --reference /usr/bin [--count 50] [--seed N]

Each round makes an image of random format, options, backing images and contents with one of the programs. `convert` (with random options), `dd`,
`rebase` and `commit` of cairn-img must give images that qemu-img finds without errors and identical, and cairn-img must read those of qemu-img
as the same bytes.
"""
import argparse
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile


class Round:
    def __init__(self, seed, arguments, folder):
        self.random = random.Random(seed)
        self.folder = folder
        self.cairn = arguments.subject / "cairn-img"
        self.cairn_io = arguments.subject / "cairn-io"
        self.qemu = arguments.reference / "qemu-img"
        self.log = []
        self.count = 0

    def run(self, program, *words, ok=(0,)):
        command = [str(program), *map(str, words)]
        self.log.append(" ".join(command))
        done = subprocess.run(["timeout", "-s", "KILL", "120", *command], cwd=self.folder, capture_output=True, text=True)
        if done.returncode not in ok:
            raise AssertionError(f"status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def name(self, suffix):
        self.count += 1
        return f"i{self.count}.{suffix}"

    def options(self, compressed=False):
        """Random options of a new qcow2 image."""
        r = self.random
        options = []
        if r.random() < 0.15:
            options.append("compat=0.10")
            if r.random() < 0.5:
                options.append(f"cluster_size={r.choice([512, 4096, 65536, 2 << 20])}")
        else:
            if r.random() < 0.3:
                options += ["extended_l2=on", f"cluster_size={r.choice([16384, 65536, 131072])}"]
            elif r.random() < 0.6:
                options.append(f"cluster_size={r.choice([512, 1024, 4096, 32768, 65536, 1 << 20, 2 << 20])}")
            if r.random() < 0.3:
                options.append(f"refcount_bits={r.choice([1, 2, 4, 8, 32, 64])}")
            if r.random() < 0.2:
                options.append("lazy_refcounts=on")
            if r.random() < 0.3:
                options.append("compression_type=zstd")
            if not compressed and r.random() < 0.15:
                options.append(f"data_file={self.name('data')}")
                if r.random() < 0.5:
                    options.append("data_file_raw=on")
        if not compressed and r.random() < 0.15:
            options.append(f"preallocation={r.choice(['metadata', 'falloc', 'full'])}")
        return options

    def fill(self, name, image_format, length, compressed):
        """Random writes, by cairn-io."""
        r = self.random
        commands = []
        for _ in range(r.randrange(0, 25)):
            start = r.randrange(0, length)
            if r.random() < 0.5:
                start -= start % 4096
            size = min(length - start, r.choice([1, 100, 512, 4096, 65536, 200000, 1 << 20]))
            kind = r.random()
            if kind < 0.2:
                commands.append(f"write -q -z {'-u ' if r.random() < 0.5 else ''}{start} {size}")
            elif kind < 0.3:
                commands.append(f"discard -q {start} {size}")
            elif kind < 0.45 and compressed:
                unit = 2 << 20
                start -= start % unit
                size = min(unit, length - start)
                size -= size % 512
                if size:
                    commands.append(f"write -q -c -P {r.randrange(1, 256)} {start} {size}")
            else:
                commands.append(f"write -q -P {r.randrange(0, 256)} {start} {size}")
        words = [word for command in commands for word in ("-c", command)]
        if words:
            # A compressed write over data that is there already is refused.
            self.run(self.cairn_io, "-f", image_format, *words, name, ok=(0, 1))

    def image(self, length, depth=0):
        """A random image: its name and format."""
        r = self.random
        maker = r.choice([self.cairn, self.qemu])
        if r.random() < 0.2:
            name = self.name("raw")
            self.run(maker, "create", "-q", "-f", "raw", name, length)
            self.fill(name, "raw", length, False)
            return name, "raw"
        name = self.name("qcow2")
        options = self.options()
        backing = []
        if depth < 3 and r.random() < 0.5 and not any(o.startswith(("data_file", "preallocation")) for o in options):
            base, base_format = self.image(max(512, r.choice([length, length // 2, length + 65536]) // 512 * 512), depth + 1)
            backing = ["-b", base, "-F", base_format]
        words = ["-o", ",".join(options)] if options else []
        self.run(maker, "create", "-q", "-f", "qcow2", *words, *backing, name, length)
        self.fill(name, "qcow2", length, not any(o.startswith("data_file") for o in options))
        return name, "qcow2"

    def hash(self, name, image_format):
        """The bytes of an image, as qemu-img reads them."""
        raw = self.name("raw")
        self.run(self.qemu, "convert", "-f", image_format, "-O", "raw", name, raw)
        return self.digest(raw)

    def digest(self, name):
        with open(self.folder / name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()
        os.unlink(self.folder / name)
        return digest

    def check(self, name, image_format, expected):
        if image_format == "qcow2":
            self.run(self.qemu, "check", "-q", "-f", "qcow2", name)
        found = self.hash(name, image_format)
        if found != expected:
            raise AssertionError(f"{name} has other contents")

    def go(self):
        r = self.random
        length = r.choice([512, 65536, 1 << 20, 5 << 20, 3 << 20]) + 512 * r.choice([0, 0, 1, 7, 130])
        name, image_format = self.image(length)
        expected = self.hash(name, image_format)
        raw = self.name("raw")
        self.run(self.cairn, "convert", "-f", image_format, "-O", "raw", *self.speed(), name, raw)
        if self.digest(raw) != expected:
            raise AssertionError("convert to raw gives other contents")
        compressed = r.random() < 0.3
        options = self.options(compressed)
        options = [o for o in options if not (compressed and o.startswith("preallocation"))]
        copy = self.name("qcow2")
        words = ["-o", ",".join(options)] if options else []
        words += ["-c"] if compressed else []
        self.run(self.cairn, "convert", "-f", image_format, "-O", "qcow2", *words, *self.speed(), name, copy)
        self.check(copy, "qcow2", expected)
        self.run(self.cairn, "compare", "-f", image_format, "-F", "qcow2", name, copy)
        again = self.name("raw")
        self.run(self.cairn, "convert", "-f", "qcow2", "-O", "raw", copy, again)
        if self.digest(again) != expected:
            raise AssertionError("cairn-img reads its own image otherwise")
        if image_format == "qcow2":
            self.change(name, expected)

    def speed(self):
        r = self.random
        words = []
        if r.random() < 0.3:
            words += ["-m", r.choice([1, 2, 16])]
        if r.random() < 0.3:
            words.append("-W")
        if r.random() < 0.3:
            words += ["-S", r.choice(["0", "512", "64k", "1M"])]
        return words

    def change(self, name, expected):
        """Commits or rebases an image, which must go on reading as before."""
        r = self.random
        info = self.run(self.qemu, "info", "-f", "qcow2", name)
        has_backing = "backing file:" in info
        if has_backing and r.random() < 0.5:
            words = ["-d"] if r.random() < 0.3 else []
            self.run(self.cairn, "commit", "-q", "-f", "qcow2", *words, name)
        elif has_backing or r.random() < 0.3:
            if has_backing and r.random() < 0.4:
                self.run(self.cairn, "rebase", "-f", "qcow2", "-b", "", name)
            elif has_backing:
                length = r.choice([512, 1 << 20, 4 << 20])
                base, base_format = self.image(length, 2)
                words = ["-c"] if r.random() < 0.3 else []
                self.run(self.cairn, "rebase", "-f", "qcow2", *words, "-b", base, "-F", base_format, name)
        self.check(name, "qcow2", expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--reference", type=lambda text: pathlib.Path(text).resolve(), default=pathlib.Path("/usr/bin"))
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    failed = 0
    for number in range(arguments.count):
        seed = arguments.seed + number
        with tempfile.TemporaryDirectory(prefix="cairn-convert-") as top:
            this = Round(seed, arguments, pathlib.Path(top))
            try:
                this.go()
            except AssertionError as error:
                failed += 1
                print(f"--- seed {seed}: {error}\n    " + "\n    ".join(this.log), flush=True)
    print(f"{arguments.count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
