"""Random conversations: nodes, edges, bitmaps, exports and I/O in any order, most of it refused.

Everything drawn comes from the seed, so a failing case is found again with `--random COUNT --seed NUMBER`. Left out is what
ends the reference (see the @survive steps) or what its answer depends on timing.
"""

import json
import random

from script import Case, Step

SIZES = [0, 512, 65536, 100000, 131072, 1048576]
NODES = [f"n{number}" for number in range(7)]
BITMAPS = ["b0", "b1"]
EXPORTS = ["e0", "e1"]
PERMISSIONS = ["consistent-read", "write", "write-unchanged", "resize"]


class Generator:
    """Draws the steps of one case."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.above = []

    def case(self, name, length):
        steps = [f"@file f{number} {self.pick(SIZES)} 0:512:0x5{number}" for number in range(3)]
        steps += ["@args --object throttle-group,id=tg --nbd-server addr.type=unix,addr.path=$DIR/nbd.sock", "@start"]
        steps += [self.command("blockdev-add", dict(self.simple(number), **{"node-name": NODES[number]}))
                  for number in range(4)]
        for _ in range(length):
            steps += self.step()
        steps += self.overview()
        return Case("random", name, [Step(number, text) for number, text in enumerate(steps, 1)])

    def pick(self, choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def command(self, name, arguments):
        return json.dumps({"execute": name, "arguments": arguments})

    def step(self):
        kinds = {
            self.add: 8, self.delete: 4, self.reopen: 4, self.bitmap: 5, self.merge: 2, self.export: 5, self.unexport: 3,
            self.io: 6, self.resize: 1, self.threshold: 1, self.overview: 1,
        }
        return self.random.choices(list(kinds), list(kinds.values()))[0]()

    # Nodes

    def simple(self, number):
        """Something for the rest to build on."""
        if number == 3:
            return {"driver": "raw", "file": NODES[1]}
        return {"driver": "null-co", "size": 131072, "read-zeroes": True} if number == 0 else {
            "driver": "file", "filename": f"$DIR/f{number}"}

    def existing(self):
        """A name that is likely to be there."""
        return NODES[min(self.random.randrange(len(NODES)), self.random.randrange(len(NODES)))]

    def add(self):
        self.above = []
        return [self.command("blockdev-add", self.node(self.pick(NODES[2:]), depth=0))]

    def node(self, name, depth):
        drivers = ["null-co", "file", "raw", "raw", "throttle", "copy-before-write", "snapshot-access", "blkdebug"]
        driver = self.pick(drivers[:3] if depth > 1 else drivers)
        options = {"driver": driver}
        if name:
            options["node-name"] = name
        if self.chance(0.15):
            options["read-only"] = self.chance(0.7)
        if self.chance(0.1):
            options["discard"] = "unmap"
        if self.chance(0.1):
            options["detect-zeroes"] = self.pick(["on", "unmap", "off"])
        if self.chance(0.1):
            options["cache"] = {"no-flush": self.chance(0.5)}
        self.above.append(name)
        options.update(getattr(self, driver.replace("-", "_"))(depth))
        self.above.pop()
        return options

    def child(self, depth):
        if depth < 2 and self.chance(0.3):
            return self.node(self.pick(NODES) if self.chance(0.5) else None, depth + 1)
        name = self.existing()
        # A node that refers to one of its own parents ends the reference.
        return NODES[0] if name in self.above else name

    def null_co(self, _):
        return {"size": self.pick(SIZES), "read-zeroes": True}

    def file(self, _):
        return {"filename": f"$DIR/f{self.random.randrange(4)}"}

    def raw(self, depth):
        options = {"file": self.child(depth)}
        if self.chance(0.2):
            options["offset"] = self.pick([0, 512, 4096, 65536])
        if self.chance(0.2):
            options["size"] = self.pick([0, 512, 4096, 65536, 1000])
        return options

    def throttle(self, depth):
        return {"throttle-group": "tg" if self.chance(0.9) else "nope", "file": self.child(depth)}

    def copy_before_write(self, depth):
        # Nobody else uses the target: that Cairn does not share it with writers is meant.
        target = {"driver": "null-co", "size": self.pick(SIZES), "read-zeroes": True}
        options = {"file": self.child(depth), "target": target}
        if self.chance(0.3):
            options["bitmap"] = {"node": self.existing(), "name": self.pick(BITMAPS)}
        if self.chance(0.2):
            options["min-cluster-size"] = self.pick([4096, 65536, 131072, 1000])
        if self.chance(0.2):
            options["on-cbw-error"] = self.pick(["break-snapshot", "break-guest-write"])
        return options

    def snapshot_access(self, depth):
        return {"file": self.child(depth)}

    def blkdebug(self, depth):
        options = {"image": self.child(depth)}
        if self.chance(0.5):
            options["take-child-perms"] = self.random.sample(PERMISSIONS, self.random.randint(1, 3))
        if self.chance(0.3):
            options["unshare-child-perms"] = self.random.sample(PERMISSIONS, self.random.randint(1, 2))
        return options

    def delete(self):
        return [self.command("blockdev-del", {"node-name": self.pick(NODES[2:])})]

    def reopen(self):
        options = [{"driver": "raw", "node-name": self.pick(NODES[3:]), "file": self.existing()}]
        if self.chance(0.2):
            options[0]["read-only"] = self.chance(0.5)
        return [self.command("blockdev-reopen", {"options": options})]

    def resize(self):
        return [self.command("block_resize", {"node-name": self.existing(), "size": self.pick(SIZES)})]

    def threshold(self):
        arguments = {"node-name": self.existing(), "write-threshold": self.pick([0, 0, 512, 1 << 40])}
        return [self.command("block-set-write-threshold", arguments)]

    # Bitmaps

    def bitmap(self):
        arguments = {"node": self.existing(), "name": self.pick(BITMAPS)}
        verb = self.pick(["add", "add", "add", "remove", "clear", "enable", "disable"])
        if verb == "add" and self.chance(0.5):
            arguments["granularity"] = self.pick([512, 4096, 65536, 131072, 1000])
        if verb == "add" and self.chance(0.2):
            arguments["disabled"] = True
        steps = [self.command(f"block-dirty-bitmap-{verb}", arguments)]
        if self.chance(0.3):
            arguments = {"node": self.existing(), "name": self.pick(BITMAPS)}
            steps.append(self.command("x-debug-block-dirty-bitmap-sha256", arguments))
        return steps

    def merge(self):
        sources = [self.pick(BITMAPS) if self.chance(0.5) else {"node": self.existing(), "name": self.pick(BITMAPS)}
                   for _ in range(self.random.randint(1, 3))]
        arguments = {"node": self.existing(), "target": self.pick(BITMAPS), "bitmaps": sources}
        return [self.command("block-dirty-bitmap-merge", arguments)]

    # Exports

    def export(self):
        arguments = {"type": "nbd", "id": self.pick(EXPORTS), "node-name": self.existing(), "name": self.pick(EXPORTS)}
        if self.chance(0.6):
            arguments["writable"] = True
        if self.chance(0.3):
            arguments["bitmaps"] = [self.pick(BITMAPS)]
        return [self.command("block-export-add", arguments)]

    def unexport(self):
        return [self.command("block-export-del", {"id": self.pick(EXPORTS), "mode": "hard"}), "@sync"]

    def io(self):
        name = self.pick(EXPORTS)
        steps = [f"@nbd-info {name} base:allocation", f"@nbd c {name}"]
        for _ in range(self.random.randint(1, 4)):
            verb = self.pick(["write", "write", "read", "zero", "flush"])
            offset, length = self.pick([0, 1, 511, 4096, 65535, 65536, 99999]), self.pick([1, 512, 4096, 70000])
            step = f"@nbd-{verb} c" if verb == "flush" else f"@nbd-{verb} c {offset} {length}"
            steps.append(f"{step} 0x{self.random.randrange(1, 256):02x}" if verb == "write" else step)
        return [*steps, "@nbd-close c", "@sync"]

    def overview(self):
        steps = ['{"execute": "query-named-block-nodes", "arguments": {"flat": true}}']
        if self.chance(0.5):
            steps.append("@no-targets")
            steps.append('{"execute": "x-debug-query-block-graph"}')
        return [*steps, '{"execute": "query-block-exports"}']


class FleecingGenerator(Generator):
    """Draws a point-in-time backup: a set-up with random options, then guest and reader at work."""

    def case(self, name, length):
        size = self.pick([262144, 1000000, 1048576, 65536, 70000])
        disk = " ".join(f"{offset}:{self.pick([512, 4096, 65536])}:0x{self.random.randrange(1, 256):02x}"
                        for offset in range(0, size - 65536, 65536) if self.chance(0.7))
        steps = [f"@file disk {size} {disk}", f"@file fleece {size}"]
        steps.append(
            f"@args --blockdev file,node-name=disk,filename=$DIR/disk,discard={self.discard()}"
            f" --blockdev raw,node-name=top,file=disk,discard={self.discard()}"
            f" --blockdev file,node-name=fleece,filename=$DIR/fleece,discard={self.discard()}"
            " --nbd-server addr.type=unix,addr.path=$DIR/nbd.sock --export nbd,id=g,name=g,node-name=top,writable=on")
        steps.append(self.command("block-dirty-bitmap-add", {
            "node": "top", "name": "b0", "granularity": self.pick([512, 4096, 65536, 131072])}))
        steps.append("@nbd g g base:allocation")
        for _ in range(self.random.randrange(4)):
            steps.append(self.guest(size))
        steps += self.snapshot()
        for _ in range(length):
            steps.append(self.guest(size) if self.chance(0.5) else self.reader(size))
        steps += [f"@nbd-read s 0 {size}", f"@nbd-read g 0 {size}", f"@nbd-status g 0 {size}", "@pick node-name dirty-bitmaps",
                  '{"execute": "query-named-block-nodes"}', "@nbd-close s", "@nbd-close g", '{"execute": "quit"}', "@exit",
                  f"@bytes disk 0 {size}", f"@bytes fleece 0 {size}"]
        return Case("random", name, [Step(number, text) for number, text in enumerate(steps, 1)])

    def discard(self):
        return self.pick(["unmap", "ignore"])

    def snapshot(self):
        options = {"driver": "copy-before-write", "node-name": "cbw", "file": "disk", "target": "fleece",
                   "discard": self.discard()}
        if self.chance(0.4):
            options["bitmap"] = {"node": "top", "name": "b0"}
        if self.chance(0.4):
            options["min-cluster-size"] = self.pick([65536, 131072, 262144])
        access = {"driver": "snapshot-access", "node-name": "snap", "file": "cbw", "discard": self.discard()}
        export = {"type": "nbd", "id": "s", "node-name": "snap", "name": "s", "writable": self.chance(0.7)}
        return [
            self.command("blockdev-add", options),
            self.command("blockdev-reopen", {"options": [
                {"driver": "raw", "node-name": "top", "file": "cbw", "discard": self.discard()}]}),
            self.command("blockdev-add", access), self.command("block-export-add", export), "@nbd s s base:allocation",
        ]

    def extent(self, size):
        offset = self.random.randrange(size) if self.chance(0.5) else self.random.randrange(0, size, 65536)
        length = self.pick([1, 512, 4096, 65536, 65537, 131072, 200000])
        return offset, max(1, min(length, size - offset))

    def guest(self, size):
        offset, length = self.extent(size)
        verb = self.pick(["write", "write", "write", "zero", "trim", "read"])
        step = f"@nbd-{verb} g {offset} {length}"
        return f"{step} 0x{self.random.randrange(1, 256):02x}" if verb == "write" else step

    def reader(self, size):
        # Not to the very end: whether a discard drops the rest of a cluster there is where Cairn means to differ.
        offset, length = self.extent(size - 1)
        return f"@nbd-{self.pick(['read', 'read', 'trim', 'status'])} s {offset} {length}"


def cases(count, seed, length=40):
    """`count` cases of about `length` steps; the same for the same seed."""
    kinds = [Generator, Generator, FleecingGenerator]
    return [kinds[number % 3](f"{seed}/{number}").case(f"{seed}-{number}", length) for number in range(count)]
