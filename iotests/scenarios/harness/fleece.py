"""A disk, a guest's node above it, and the cut that slides copy-before-write in between."""

import nbd

from .guest import CLUSTER, pattern



class Disk:
    """A raw disk of some clusters, each full of its number from 1 on, with the node "disk" below the guest's node "guest"."""

    def __init__(self, context, server, clusters=16):
        self.context = context
        self.server = server
        self.size = clusters * CLUSTER
        self.original = b"".join(pattern(number + 1) for number in range(clusters))
        context.make_raw("disk", self.size, self.original)
        server.add_file("disk", "disk")
        server("blockdev-add", driver="raw", node_name="guest", file="disk")
        server.export("guest", writable=True)
        self.guest = server.connect("guest")

    def cut(self, target, **options):
        """Slides the filter "cbw" under the guest's node, and opens "snapshot" on it."""
        self.server.log("blockdev-add", driver="copy-before-write", node_name="cbw", file="disk", target=target, **options)
        self.server.log("blockdev-reopen", options=[{"driver": "raw", "node-name": "guest", "file": "cbw"}])
        self.server.log("blockdev-add", driver="snapshot-access", node_name="snapshot", file="cbw", discard="unmap")

    def undo(self):
        """Takes the snapshot and the filter away again."""
        self.server.log("blockdev-del", node_name="snapshot")
        self.server.log("blockdev-reopen", options=[{"driver": "raw", "node-name": "guest", "file": "disk"}])
        self.server.log("blockdev-del", node_name="cbw")

    def write(self, number, *clusters, shows_error=True):
        """The guest fills clusters, one request each; logs what became of them."""
        for cluster in clusters:
            self.attempt(
                f"guest writes cluster {cluster}", lambda: self.guest.pwrite(pattern(number), cluster * CLUSTER), shows_error)

    def attempt(self, what, request, shows_error=True):
        """Makes a request; logs its outcome."""
        try:
            result = request()
        except nbd.Error as error:
            self.context.log(f"{what}: {error.errno if shows_error else 'an error'}")
            return None
        self.context.log(f"{what}: ok")
        return result

    def show(self, title, handle, clusters=None):
        """Logs what each cluster is full of, as runs; an error stands for itself."""
        found = []
        for cluster in clusters or range(self.size // CLUSTER):
            try:
                data = bytes(handle.pread(CLUSTER, cluster * CLUSTER))
                found.append(str(data[0]) if data == data[:1] * CLUSTER else "mixed")
            except nbd.Error as error:
                found.append(error.errno)
        self.context.log(f"{title}: {' '.join(found)}")


def show_extents(context, title, found):
    context.log(f"{title}: " + ", ".join(f"{offset // 1024}k+{length // 1024}k {flags}" for offset, length, flags in found))
