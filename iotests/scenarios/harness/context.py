"""What a scenario works with."""

import argparse
import contextlib
import faulthandler
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from .server import Server

#: After so many seconds a scenario shows where it hangs, and ends.
TIME_LIMIT = 240
BUILD = os.path.join(os.path.dirname(__file__), "..", "..", "..", ".build", "debug")


class Context:
    """A scenario's directory, programs and log."""

    def __init__(self, server, image_tool, directory):
        self.server = os.path.abspath(server) if "/" in server else server
        name = os.path.basename(server)
        self.kind = "emulator" if name.startswith("qemu-system") else "storageDaemon" if name.startswith("qemu") else "cairn"
        self.image_tool = os.path.abspath(image_tool) if "/" in image_tool else image_tool
        self.directory = directory
        self.servers = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def log(self, text=""):
        print(str(text).replace(self.directory, "DIR"), flush=True)

    def section(self, title):
        self.log(f"\n=== {title} ===")

    def start(self, *arguments):
        """Starts the server."""
        return Server(self, *arguments)

    def image(self, *words):
        """Runs the program for images, which must succeed; its output."""
        status, output = self.image_status(*words)
        if status != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {status}: {output}")
        return output

    def image_status(self, *words):
        """Runs the program for images: its exit status and output."""
        done = subprocess.run(
            [self.image_tool, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.directory)
        return done.returncode, done.stdout

    def make_raw(self, name, size, data=b""):
        with open(self.path(name), "wb") as file:
            file.write(data)
            file.truncate(size)

    def make_qcow2(self, name, size, backing=None, cluster_size=None):
        over = ["-b", backing, "-F", "qcow2"] if backing else []
        options = ["-o", f"cluster_size={cluster_size}"] if cluster_size else []
        self.image("create", "-q", "-f", "qcow2", *over, *options, name, str(size))

    def copy(self, name, other):
        shutil.copyfile(self.path(name), self.path(other))

    def clear(self):
        """Removes all files of the directory."""
        for name in os.listdir(self.directory):
            os.unlink(self.path(name))

    def check(self, *names):
        """Has the program for images check qcow2 images; an error or a leak raises."""
        for name in names:
            self.image("check", "-f", "qcow2", "-q", name)

    def content(self, name, form="qcow2"):
        """All bytes of an image as a guest would see them."""
        raw = self.path("content.raw")
        self.image("convert", "-f", form, "-O", "raw", name, raw)
        with open(raw, "rb") as file:
            data = file.read()
        os.unlink(raw)
        return data

    def expect(self, what, holds):
        """Logs what was looked at, and whether it holds."""
        self.log(f"{what}: {'yes' if holds else 'NO'}")


def main(run, **numbers):
    """Runs a scenario. Each of `numbers` is the default of an option for runs by hand, and is given to `run`."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--server", default=os.environ.get("CAIRN_IOTEST_SERVER", os.path.join(BUILD, "cairn-storage-daemon")))
    parser.add_argument("--img", default=os.environ.get("CAIRN_IOTEST_IMAGE_TOOL", os.path.join(BUILD, "cairn-img")))
    parser.add_argument("--time-limit", type=int, default=TIME_LIMIT)
    if numbers:
        parser.add_argument("--seed", type=int, default=time.time_ns())
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    options = parser.parse_args()
    faulthandler.dump_traceback_later(options.time_limit, exit=True)
    given = os.environ.get("CAIRN_IOTEST_DIR")
    with contextlib.nullcontext(given) if given else tempfile.TemporaryDirectory(prefix="cairn-scenario-") as directory:
        context = Context(options.server, options.img, directory)
        try:
            if numbers:
                run(context, random.Random(options.seed), **{name: getattr(options, name) for name in numbers})
            else:
                run(context)
        except BaseException:
            if numbers:
                print(f"the seed was {options.seed}")
            for server in context.servers:
                print(server.output(), end="")
            raise
        finally:
            for server in context.servers:
                server.kill()
