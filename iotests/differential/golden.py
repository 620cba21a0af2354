"""Recordings of the reference program's answers, and the list of differences that are meant.

A recording holds, for each case, `## case name` and, for each step, `[index] step text` followed by the indented lines
that came back.
"""

import json
import pathlib
import re

HEAD = re.compile(r"\[(\d+)\] (.*)")


def write(path, transcripts):
    """Writes the recording of one script: {case name: [(step text, lines)]}."""
    out = []
    for name, entries in transcripts.items():
        out.append(f"## {name}")
        for index, (text, lines) in enumerate(entries):
            out.append(f"[{index}] {text}")
            out += [f"    {line}" for line in lines]
        out.append("")
    pathlib.Path(path).write_text("\n".join(out), encoding="utf-8")


def read(path):
    """The opposite of `write`; nothing when there is no recording."""
    transcripts, entries = {}, None
    if not pathlib.Path(path).exists():
        return transcripts
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        head = HEAD.match(line)
        if line.startswith("## "):
            entries = transcripts.setdefault(line[3:], [])
        elif head and entries is not None:
            entries.append((head.group(2), []))
        elif line.startswith("    "):
            entries[-1][1].append(line[4:])
    return transcripts


class KnownDifferences:
    """known-differences.json: [{"case": "script/case", "index": number or [numbers] or "*", "reason": text}]."""

    def __init__(self, path):
        path = pathlib.Path(path)
        self.entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        self.used = set()

    def accepts(self, case, index):
        """Whether this step of this case is meant to differ; remembers that it did."""
        found = False
        for number, entry in enumerate(self.entries):
            if entry["case"] == case and covers(entry["index"], index):
                self.used.add((number, index))
                found = True
        return found

    def unused(self, cases):
        """Listed differences of the cases run that did not show."""
        for number, entry in enumerate(self.entries):
            if entry["case"] not in cases:
                continue
            listed = entry["index"] if isinstance(entry["index"], list) else [entry["index"]]
            for index in listed:
                shown = {each for owner, each in self.used if owner == number}
                if (index == "*" and not shown) or (index != "*" and index not in shown):
                    yield entry["case"], index

    def missing_reasons(self, document):
        """The reasons that the document does not give word by word."""
        text = " ".join(pathlib.Path(document).read_text(encoding="utf-8").split())
        return sorted({entry["reason"] for entry in self.entries if entry["reason"] not in text})


def covers(listed, index):
    return listed == "*" or listed == index or (isinstance(listed, list) and index in listed)
