"""Reads the conversation scripts: sections, directives, commands.

A script is a text file, one step per line:

    # a comment
    ## name of a case            begins a case with a fresh daemon in a fresh directory
    @directive argument ...      something the test program does (see steps.py for the list)
    {"execute": ...}             one QMP command; the reply is awaited

`$DIR` stands for the case's directory and `$PORT` for a free TCP port. A case whose first step is `@continue` goes on
with the daemon, the connections and the directory of the case before it.
"""

import dataclasses
import pathlib


class ScriptError(Exception):
    """A script line that means nothing."""


@dataclasses.dataclass
class Step:
    """One line of a case: a command, or a directive with its argument text."""

    line: int
    text: str

    @property
    def is_command(self):
        return not self.text.startswith("@")

    @property
    def directive(self):
        return self.text[1:].split(None, 1)[0]

    @property
    def argument(self):
        parts = self.text.split(None, 1)
        return parts[1] if len(parts) == 2 else ""


@dataclasses.dataclass
class Case:
    """A named list of steps."""

    script: str
    name: str
    steps: list = dataclasses.field(default_factory=list)

    @property
    def key(self):
        """What filters and known-differences.json call the case."""
        return f"{self.script}/{self.name}"

    @property
    def continues(self):
        return bool(self.steps) and self.steps[0].text == "@continue"


def parse(path):
    """The cases of one script file."""
    cases = []
    name = pathlib.Path(path).stem
    for number, raw in enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1):
        text = raw.strip()
        if text.startswith("## "):
            cases.append(Case(name, text[3:].strip()))
        elif not text or text.startswith("#"):
            continue
        elif not text.startswith(("{", "@")) or not cases:
            raise ScriptError(f"{path}:{number}: neither a command nor a directive of a case: {text}")
        else:
            cases[-1].steps.append(Step(number, text))
    names = [case.name for case in cases]
    for duplicate in {each for each in names if names.count(each) > 1}:
        raise ScriptError(f"{path}: two cases are named '{duplicate}'")
    return cases


def chains(cases):
    """Groups the cases that share a daemon, so that each group can run on its own."""
    groups = []
    for case in cases:
        if case.continues and groups:
            groups[-1].append(case)
        else:
            groups.append([case])
    return groups
