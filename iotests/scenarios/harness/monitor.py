"""A client of QMP."""

import json
import socket

#: The longest wait for a reply or an event, in seconds. Nothing in a healthy run comes near it.
PATIENCE = 60.0


class CommandError(Exception):
    """The server answered with an error."""


class Monitor:
    """A connection that runs one command at a time, and keeps the events that arrive meanwhile."""

    def __init__(self, path):
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")
        self.read()
        self.execute("qmp_capabilities", {})

    def read(self):
        """The next message."""
        line = self.stream.readline()
        if not line:
            raise ConnectionError("the server closed its monitor")
        return json.loads(line)

    def send(self, command, arguments):
        message = {"execute": command, "arguments": arguments}
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def execute(self, command, arguments):
        """The reply to a command, with "return" or "error"."""
        self.send(command, arguments)
        while True:
            message = self.read()
            if "event" not in message:
                return message
            self.events.append(message)

    def take(self, matches, until):
        """Waits for an event that `until` likes; takes out those that `matches` likes up to that one."""
        taken, position = [], 0
        while True:
            while position < len(self.events):
                event = self.events[position]
                if matches(event):
                    taken.append(self.events.pop(position))
                else:
                    position += 1
                if until(event):
                    return taken
            message = self.read()
            if "event" not in message:
                raise ConnectionError(f"a reply to nothing: {message}")
            self.events.append(message)

    def close(self):
        self.stream.close()
        self.socket.close()
