"""The server under test."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile

import nbd

from .monitor import PATIENCE, CommandError, Monitor

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A server that runs, with its monitor. Calling it executes a command that must succeed: `server("job-cancel", id="job")`."""

    def __init__(self, context, *arguments):
        self.context = context
        path = context.path("qmp")
        if os.path.exists(path):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            self.log_file = tempfile.TemporaryFile("w+")
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f'exec "$0" "$@" 3<&{listener.fileno()}', context.server,
                 *self.monitor_arguments(context.kind), *arguments],
                pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file,
                preexec_fn=end_with_parent, cwd=context.directory)
        context.servers.append(self)
        self.monitor = Monitor(path)
        self.number_of_exports = 0

    @staticmethod
    def monitor_arguments(kind):
        monitor = ["--chardev", "socket,id=monitor,fd=3,server=on,wait=off", "--monitor", "chardev=monitor"]
        if kind != "emulator":
            return monitor
        return ["-nodefaults", "-display", "none", "-vga", "none", "-accel", "qtest", *monitor[:2],
                "-mon", "chardev=monitor,mode=control"]

    def output(self):
        """What the server has written to its outputs."""
        self.log_file.seek(0)
        return self.log_file.read()

    # Commands

    def __call__(self, command, **arguments):
        reply = self.monitor.execute(command, with_dashes(arguments))
        if "error" in reply:
            raise CommandError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

    def log(self, command, **arguments):
        """Logs a command, executes it, and logs its reply, which may be an error. What it returned."""
        arguments = with_dashes(arguments)
        self.context.log(f"> {command} {json.dumps(arguments)}" if arguments else f"> {command}")
        reply = self.monitor.execute(command, arguments)
        if "error" in reply:
            self.context.log(f"< {reply['error']['class']}: {reply['error']['desc']}")
            return None
        self.context.log(f"< {json.dumps(reply['return'], sort_keys=True)}")
        return reply["return"]

    # Events

    def wait(self, job, status, log=True, hides=(), skips=()):
        """Waits until a job has got a status. Logs the job's events up to that one, leaving those of other jobs.

        `hides` names data, and `skips` statuses, that depend on when something happened.
        """
        def is_of_job(event):
            data = event.get("data", {})
            return job in (data.get("id"), data.get("device"))

        def is_last(event):
            return event.get("data") == {"id": job, "status": status}

        events = self.monitor.take(is_of_job, is_last)
        # A short pause for a change of the graph is not the one that was asked for.
        while status in ("paused", "standby") and self.job(job)["status"] != status:
            events += self.monitor.take(is_of_job, is_last)
        for event in without_drains(events) if log else []:
            if event["data"].get("status") in skips:
                continue
            event["data"].update({name: name.upper() for name in hides if name in event["data"]})
            self.log_event(event)

    def event(self, name, log=True, **data):
        """Waits for an event with at least these data, and takes it out; its data."""
        data = with_dashes(data)
        event = self.monitor.take(
            lambda event: matches(event, name, data), lambda event: matches(event, name, data))[-1]
        if log:
            self.log_event(event)
        return event.get("data", {})

    def log_event(self, event):
        self.context.log(f"* {event['event']} {json.dumps(event.get('data', {}), sort_keys=True)}")

    def discard_events(self):
        """Forgets the events that have arrived."""
        self("query-status" if self.context.kind == "emulator" else "query-version")
        self.monitor.events.clear()

    # Jobs

    def run_job(self, job, command, log=False, **arguments):
        """Runs a job to its end, which must be a good one; it goes away by itself."""
        self(command, job_id=job, **arguments)
        self.wait(job, "concluded", log)
        error = [each.get("error") for each in self("query-jobs") if each["id"] == job]
        if error and error[0]:
            raise CommandError(f"job {job}: {error[0]}")
        if error:
            self("job-dismiss", id=job)
        self.wait(job, "null", log)

    def job(self, job):
        """What query-jobs tells of a job."""
        return next(each for each in self("query-jobs") if each["id"] == job)

    # Disks

    def add_file(self, node, name, **options):
        self("blockdev-add", driver="file", node_name=node, filename=self.context.path(name), **options)

    def add_image(self, node, name, driver="qcow2", **options):
        """Opens an image, and its file as a node within."""
        self("blockdev-add", driver=driver, node_name=node,
             file={"driver": "file", "filename": self.context.path(name)}, **options)

    def bitmaps(self, node):
        """The named dirty bitmaps of a node: {name: (count, what is on)}."""
        found = next(each for each in self("query-named-block-nodes", flat=True) if each["node-name"] == node)
        return {
            each["name"]: (each["count"], [key for key in ("recording", "busy", "persistent", "inconsistent") if each.get(key)])
            for each in found.get("dirty-bitmaps", []) if "name" in each}

    def log_bitmaps(self, *nodes):
        for node in nodes:
            for name, (count, what) in sorted(self.bitmaps(node).items()):
                self.context.log(f"bitmap {node}/{name}: {count} bytes dirty, {' '.join(what)}")

    # Exports

    def export(self, node, writable=False, name=None, **options):
        """Exports a node over NBD; the id and the name are the node's, or as given."""
        if not self.number_of_exports:
            self("nbd-server-start", addr={"type": "unix", "data": {"path": self.context.path("nbd")}}, max_connections=0)
        self.number_of_exports += 1
        name = name or node
        self("block-export-add", type="nbd", id=name, node_name=node, name=name, writable=writable, **options)

    def remove_export(self, name):
        self("block-export-del", id=name, mode="hard")
        self.event("BLOCK_EXPORT_DELETED", log=False, id=name)

    def connect(self, name, *contexts):
        """A client of an export, with meta contexts."""
        handle = nbd.NBD()
        for each in contexts:
            handle.add_meta_context(each)
        handle.connect_uri(f"nbd+unix:///{name}?socket={self.context.path('nbd')}")
        return handle

    def write(self, node, number, offset, length):
        """Fills a part of a node that is not exported with bytes of one value."""
        self.export(node, writable=True, name="writer")
        client = self.connect("writer")
        for position in range(offset, offset + length, 1 << 20):
            client.pwrite(bytes([number]) * min(1 << 20, offset + length - position), position)
        client.shutdown()
        self.remove_export("writer")

    # The end

    def quit(self):
        """Has the server quit; it must end well."""
        self("quit")
        self.monitor.close()
        status = self.process.wait(PATIENCE)
        if status != 0:
            raise ConnectionError(f"the server ended with {status}")

    def kill(self):
        """Kills the server where it still runs."""
        self.process.kill()
        self.process.wait()
        self.monitor.close()


def without_drains(events):
    """The events without a job's short pauses, in which the server changes the graph: when there are some is its own affair."""
    kept = []
    for event in events:
        status = event["data"].get("status")
        pauses = [("paused", "running"), ("standby", "ready")]
        if kept and event["event"] == "JOB_STATUS_CHANGE" and (kept[-1]["data"].get("status"), status) in pauses:
            kept.pop()
        else:
            kept.append(event)
    return kept


def with_dashes(arguments):
    return {name.replace("_", "-"): value for name, value in arguments.items()}


def matches(event, name, data):
    return event["event"] == name and all(event.get("data", {}).get(key) == value for key, value in data.items())
