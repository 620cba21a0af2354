"""What every group of rows works with: the two sets of programs, alternating rounds, and the table."""

import os
import statistics


class Programs:
    """One side: a daemon, and its image tool beside it."""

    def __init__(self, daemon, tool):
        self.daemon = daemon
        self.tool = os.path.join(os.path.dirname(daemon), tool)


class Comparison:
    """Measures rows for Cairn and the reference in turns, and prints medians and ratios as they come.

    Attributes: `cairn` and `reference` (`Programs`), `load` (`daemons.NBDLoad`), `rounds`, `seconds` of load in a round,
    `figures` (of the rows so far, for JSON).
    """

    def __init__(self, cairn, reference, load, wanted, rounds, seconds):
        self.cairn, self.reference, self.load = cairn, reference, load
        self.wanted, self.rounds, self.seconds = wanted, rounds, seconds
        self.figures = []
        print(f"{'':70}{'Cairn':>12}{'QEMU':>12}{'ratio':>7}   {'processor time':>20}{'ratio':>7}", flush=True)

    def wants(self, name):
        """Whether a row is asked for."""
        return self.wanted in name

    def row(self, name, unit, body):
        """Measures a row if it is asked for.

        `body` gets `Programs` and returns the figure and the processor time (of a request if unit is "1/s", else of all;
        0 if it says nothing). With the unit "1/s" more is better, with every other one ("s", "us", "MiB") less.
        """
        if self.wants(name):
            self.rows([name], [unit], lambda programs: [body(programs)])

    def rows(self, names, units, body):
        """The same for several rows that one run measures: `body` returns a list with one pair for each."""
        if not any(map(self.wants, names)):
            return
        ours, theirs = [], []
        for _ in range(self.rounds):
            ours.append(body(self.cairn))
            theirs.append(body(self.reference))
        for index, (name, unit) in enumerate(zip(names, units)):
            self.add(name, unit, [round_[index] for round_ in ours], [round_[index] for round_ in theirs])

    def add(self, name, unit, ours, theirs):
        (figure, time), (their_figure, their_time) = (
            [statistics.median(values) for values in zip(*rounds)] for rounds in (ours, theirs))
        ratio = ratio_of(*((figure, their_figure) if unit == "1/s" else (their_figure, figure)))
        self.figures.append({
            "row": name, "unit": unit, "cairn": figure, "qemu": their_figure, "ratio": ratio,
            "cairn processor time": time, "qemu processor time": their_time})
        if unit == "1/s":
            columns = f"{figure:10.0f}/s{their_figure:10.0f}/s"
        else:
            columns = f"{figure:8.3g} {unit:3}{their_figure:8.3g} {unit:3}"
        columns += f"{ratio:7.2f}" if ratio else f"{'–':>7}"
        if time and their_time:
            scale, of = (1e6, "us") if unit == "1/s" else (1, "s")
            columns += f"   {time * scale:7.2f} {of:2} {their_time * scale:7.2f} {of:2}{their_time / time:7.2f}"
        print(f"{name:70}{columns}", flush=True)

    def note(self, name, unit, value):
        """A figure without a counterpart, such as what the machine can do at all."""
        self.figures.append({"row": name, "unit": unit, "bound": value})
        print(f"{name:70}{value:10.0f}{unit}", flush=True)


def ratio_of(more, less):
    """None where nothing can be divided by."""
    return more / less if less else None
