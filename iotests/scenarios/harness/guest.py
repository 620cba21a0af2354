"""Users of exports."""

import threading

import nbd

CLUSTER = 65536


def pattern(number, count=CLUSTER):
    """Bytes that are all the same."""
    return bytes([number]) * count


def extents(handle, context, size):
    """The extents of a meta context as (offset, length, flags), those of equal flags in one."""
    found = []

    def collect(name, offset, entries, error):
        if name != context:
            return
        for length, flags in zip(entries[::2], entries[1::2]):
            if found and found[-1][2] == flags:
                found[-1] = (found[-1][0], found[-1][1] + length, flags)
            else:
                found.append((offset, length, flags))
            offset += length

    position = 0
    while position < size:
        handle.block_status(size - position, position, collect)
        position = found[-1][0] + found[-1][1]
    return found


def dirty(handle, bitmap, size):
    """The dirty parts of an exported bitmap, as (offset, length)."""
    return [(offset, length) for offset, length, flags in extents(handle, f"qemu:dirty-bitmap:{bitmap}", size) if flags]


class Guest(threading.Thread):
    """Writes at random places of an export, one request after the other, and keeps a journal of them.

    `journal` holds (offset, length) of the requests sent, `completed` says how many of them are answered, and `flushed` how many
    were when the last flush that succeeded was sent. Several guests may share an export where each has a region of its own.
    """

    LENGTHS = (512, 4096, 10240, 65536, 102400)
    SECTOR = 512

    def __init__(self, server, export, random, region=None, flushes=False):
        super().__init__(daemon=True)
        self.handle = server.connect(export)
        self.start_offset, self.size = region or (0, self.handle.get_size())
        self.random = random
        self.flushes = flushes
        self.journal = []
        self.completed = 0
        self.flushed = 0
        self.is_stopping = False
        self.failure = None
        self.progress = threading.Condition()
        #: The region after as many writes as the second one says; states before it are no longer asked for.
        self.known = (bytearray(self.size), 0)

    def begin(self, original):
        """Begins to write to a disk with this content."""
        self.known = (bytearray(original[self.start_offset:self.start_offset + self.size]), 0)
        self.start()

    def run(self):
        try:
            while not self.is_stopping:
                self.step()
        except nbd.Error as error:
            self.failure = error
        with self.progress:
            self.is_stopping = True
            self.progress.notify_all()

    def step(self):
        number = len(self.journal)
        length = min(self.random.choice(self.LENGTHS), self.size)
        offset = self.random.randrange(0, self.size - length + 1, self.SECTOR)
        self.journal.append((offset, length))
        if self.is_zero(number):
            self.handle.zero(length, self.start_offset + offset)
        else:
            self.handle.pwrite(self.data(number), self.start_offset + offset)
        if self.flushes and self.random.random() < 0.1:
            self.handle.flush()
            self.flushed = number + 1
        with self.progress:
            self.completed = number + 1
            self.progress.notify_all()

    @staticmethod
    def is_zero(number):
        return number % 8 == 5

    def data(self, number):
        """What a write of the journal leaves: its number, again and again; or zeroes."""
        length = self.journal[number][1]
        return bytes(length) if self.is_zero(number) else (number + 1).to_bytes(8, "little") * (length // 8)

    def wait_for(self, count):
        """Waits until so many more writes are done; false where the guest has stopped."""
        with self.progress:
            goal = self.completed + count
            self.progress.wait_for(lambda: self.completed >= goal or self.is_stopping)
            return self.completed >= goal

    def stop(self):
        """Lets the request that is under way end, and no other begin. Errors: one has failed."""
        self.is_stopping = True
        self.join()
        if self.failure:
            raise self.failure

    def apply(self, disk, number):
        offset, length = self.journal[number]
        disk[offset:offset + length] = self.data(number)

    def state(self, count):
        """The region after so many writes. No earlier state can be asked for from now on."""
        disk, done = self.known
        for number in range(done, count):
            self.apply(disk, number)
        self.known = (disk, count)
        return disk

    def final(self):
        return self.state(len(self.journal))

    def instant(self, content, earliest, latest):
        """After how many writes a disk's content was the region's, between two bounds; None where it never was."""
        content = content[self.start_offset:self.start_offset + self.size]
        disk = bytearray(self.state(earliest))
        for count in range(earliest, latest + 1):
            if disk == content:
                return count
            if count < len(self.journal):
                self.apply(disk, count)
        return None

    def allows(self, content, torn=()):
        """Whether a disk whose server was killed holds all that was flushed, and beyond that only what was written.

        `torn` are further values of sectors that the request may leave that was under way.
        """
        content = content[self.start_offset:self.start_offset + self.size]
        disk = bytearray(self.state(self.flushed))
        allowed = {}
        for number in range(self.flushed, len(self.journal)):
            offset, length = self.journal[number]
            data = self.data(number)
            for position in range(0, length, self.SECTOR):
                place = offset + position
                allowed.setdefault(place, {bytes(disk[place:place + self.SECTOR])}).add(data[position:position + self.SECTOR])
                if number >= self.completed:
                    allowed[place].update(torn)
        for place, values in allowed.items():
            found = bytes(content[place:place + self.SECTOR])
            if found not in values:
                return False
            disk[place:place + self.SECTOR] = found
        return disk == content
