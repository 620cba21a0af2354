"""Replaces what may differ from run to run: times, paths, generated names, process ids, ports, versions."""

import json
import os
import re

NODE_NAME = re.compile(r"#block\d+")
WIDTH = 118
TIME_MEMBERS = re.compile(r"(_time_ns|_duration_ns)$|^(date|vm-clock)-n?sec$")


class Normaliser:
    """One per case chain: generated node names are numbered in the order in which they first appear."""

    def __init__(self, directory, program, port):
        self.replacements = [(directory, "$DIR")]
        self.program = os.path.basename(program)
        self.port = str(port)
        self.nodes = {}
        self.keeps_order = False

    def text(self, text):
        """Any text: an error message, a line of output."""
        for old, new in self.replacements:
            text = text.replace(old, new)
        text = NODE_NAME.sub(lambda match: self.node(match.group()), text)
        return re.sub(rf"\b{self.port}\b", "$PORT", text)

    def node(self, name):
        return self.nodes.setdefault(name, f"#block<{len(self.nodes)}>")

    def program_text(self, text):
        """Output of the program itself: its name, and what it was called by, become PROGRAM."""
        text = re.sub(rf"(?m)^\S*{re.escape(self.program)}(?=: )", "PROGRAM", self.text(text))
        return text.replace(self.program, "PROGRAM")

    def message(self, value):
        """A QMP message."""
        if isinstance(value, dict):
            if "QMP" in value and isinstance(value["QMP"], dict):
                value = dict(value, QMP=dict(value["QMP"], version="VERSION"))
            if "event" in value and "timestamp" in value:
                value = dict(value, timestamp=shape(value["timestamp"]))
        return self.value(value)

    def value(self, value, name=None):
        """Any part of a message; `name` is the member that holds it."""
        if isinstance(value, dict):
            if looks_like_image(value):
                value = dict(value)
                value.pop("actual-size", None)
            return {self.text(key): self.value(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if isinstance(value, str):
            # Node options travel inside a text as JSON, in no particular order of members.
            if value.startswith("json:") and not self.keeps_order:
                try:
                    return "json:" + json.dumps(self.value(json.loads(value[5:])), sort_keys=True)
                except ValueError:
                    pass
            return self.text(value)
        if name is not None and TIME_MEMBERS.search(name) and isinstance(value, int):
            return "TIME"
        return value


def looks_like_image(value):
    """Whether this is the image information of a node: how much of it is allocated depends on the host's file system."""
    return "virtual-size" in value and "format" in value


def shape(value):
    """The value with each leaf replaced by the name of its type."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    names = {bool: "bool", int: "int", float: "number", str: "str", type(None): "null"}
    return f"<{names[type(value)]}>"


def graph(answer):
    """x-debug-query-block-graph without its arbitrary ids: nodes and edges by name, sorted."""
    names = {}
    for node in answer["nodes"]:
        names[node["id"]] = f"{node['type']}:{node['name']}"
    edges = [
        {
            "parent": names[edge["parent"]], "child": names[edge["child"]], "name": edge["name"],
            "perm": sorted(edge["perm"]), "shared-perm": sorted(edge["shared-perm"]),
        }
        for edge in answer["edges"]
    ]
    edges.sort(key=lambda edge: (edge["parent"], edge["name"], edge["child"]))
    return {"nodes": sorted(names.values()), "edges": edges}


def render(value, indent=0, lead="", tail=""):
    """A value as the recordings show it: each part that fits on one line; members sorted."""
    line = " " * indent + lead + json.dumps(value, sort_keys=True) + tail
    if len(line) <= WIDTH or not isinstance(value, (dict, list)) or not value:
        return [line]
    if isinstance(value, dict):
        parts = [(json.dumps(key) + ": ", value[key]) for key in sorted(value)]
        opening, closing = "{", "}"
    else:
        parts = [("", each) for each in value]
        opening, closing = "[", "]"
    lines = [" " * indent + lead + opening]
    for number, (label, each) in enumerate(parts, 1):
        lines += render(each, indent + 2, label, "," if number < len(parts) else "")
    return [*lines, " " * indent + closing + tail]
