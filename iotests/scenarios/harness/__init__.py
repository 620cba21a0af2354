"""What scenarios in Python share: a server under test with its monitor, NBD clients, a guest that keeps a journal, and the log.

A scenario calls `main(run)`; `run` gets a `Context`. The runner gives the programs under test in the environment; by hand, they
are options: `iotests/scenarios/NAME --server PROGRAM --img PROGRAM`.
"""

from .context import Context, main
from .fleece import Disk, show_extents
from .guest import CLUSTER, Guest, dirty, extents, pattern
from .libvirt import LibvirtDisk
from .lifecycle import lifecycle, prepare_chain
from .monitor import CommandError
from .server import Server

__all__ = [
    "CLUSTER", "CommandError", "Context", "Disk", "Guest", "LibvirtDisk", "Server", "dirty", "extents", "lifecycle", "main",
    "pattern", "prepare_chain", "show_extents",
]
