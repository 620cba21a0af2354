"""A disk as libvirt sets it up."""


class LibvirtDisk:
    """A qcow2 image over its file, "libvirt-1-format" over "libvirt-1-storage", in use by a guest whose writes `model` follows."""

    def __init__(self, context, random, size=4 << 20):
        self.context = context
        self.random = random
        self.size = size
        self.model = bytearray(size)
        self.backup = bytearray(size)
        self.states = {}
        context.make_qcow2("disk", size)
        self.start()
        self.change(20)

    def start(self):
        self.server = self.context.start()
        self.server.add_file("libvirt-1-storage", "disk", discard="unmap")
        self.server(
            "blockdev-add", node_name="libvirt-1-format", driver="qcow2", file="libvirt-1-storage", discard="unmap")
        self.server.export("libvirt-1-format", writable=True)
        self.guest = self.server.connect("libvirt-1-format")

    def restart(self):
        self.guest.shutdown()
        self.server.quit()
        self.context.check("disk")
        self.start()
        self.server.log_bitmaps("libvirt-1-format")

    def change(self, count):
        """The guest writes."""
        for _ in range(count):
            length = self.random.choice((512, 4096, 65536, 100000))
            offset = self.random.randrange(0, self.size - length, 512)
            data = self.random.randbytes(4) * (length // 4)
            self.guest.pwrite(data, offset)
            self.model[offset:offset + length] = data

    def create(self, name, **options):
        """Makes a qcow2 image as jobs do, and opens its file as NAME-storage."""
        path = self.context.path(name)
        self.server.run_job("create", "blockdev-create", options={"driver": "file", "filename": path, "size": 0})
        self.server("blockdev-add", node_name=f"{name}-storage", driver="file", filename=path)
        self.server.run_job("create", "blockdev-create", options={
            "driver": "qcow2", "file": f"{name}-storage", "size": self.size,
            **{key.replace("_", "-"): value for key, value in options.items()}})

    @staticmethod
    def action(kind, **data):
        return {"type": kind, "data": data}

    def end(self):
        self.guest.shutdown()
        self.server.quit()
        self.context.check("disk")
        self.context.section("the end")
        self.context.expect("the disk is what the guest wrote", self.context.content("disk") == self.model)
