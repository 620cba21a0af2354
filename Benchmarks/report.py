#!/usr/bin/python3
"""Puts the figures of bench.py (its --json) into the table of docs/performance.md, in the place of those that are there."""

import argparse
import json
import os
import re

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "performance.md")
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"

# What bounds the rows whose names match; the first that does counts.
BOUNDS = [
    (r", fio$", "fio"),
    (r"bare socket", "the kernel's copying"),
    (r"^qcow2, new: (64 KiB|1 MiB)", "new pages of tmpfs, copying"),
    (r"^copy-before-write.* first touch", "copying 64 KiB for each request; new pages of tmpfs"),
    (r"^copy-before-write", "as without copy-before-write; the reader's share of two processors"),
    (r"^snapshot-access", "copying: file to memory to socket to client"),
    (r"backing file: .* write", "reading and writing 64 KiB for each request"),
    (r"^(qcow2: )?1 MiB", "copying: file to memory to socket to client"),
    (r"depth 1$", "sleeping and waking of two processes"),
    (r"(read|write), depth (32|128)", "system calls: receive, file, send"),
    (r"^convert .*(-c|compressed)", "zlib, on all processors"),
    (r"^convert .* sparse", "start of the program; looking for holes"),
    (r"^convert", "the kernel's lock of the target file, see below"),
    (r"^(backup|mirror|incremental)", "copying; new pages of tmpfs"),
    (r"^start", "dynamic linking, setting up the ring"),
    (r"^resident", "code pages and Swift's metadata"),
    (r"^QMP: query-block-exports", "the Python client"),
    (r"^QMP", "building and writing JSON"),
]


def number(value, unit):
    """A figure as people read it."""
    if unit in ("1/s", "/s"):
        return f"{value:,.0f}/s"
    if unit == "s" and value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.3g} {unit.replace('us', 'µs')}" if value < 1000 else f"{value:,.0f} {unit.replace('us', 'µs')}"


def row(figure):
    name = figure["row"]
    bound = next((text for pattern, text in BOUNDS if re.search(pattern, name)), "")
    if "bound" in figure:
        return f"| {name} | {number(figure['bound'], figure['unit'])} | | | | | | {bound} |"
    used = ["–"] * 3
    if figure["cairn processor time"] and figure["qemu processor time"]:
        scale, unit = (1e6, "us") if figure["unit"] == "1/s" else (1, "s")
        used = [number(figure[key] * scale, unit) for key in ("cairn processor time", "qemu processor time")]
        used.append(f"{figure['qemu processor time'] / figure['cairn processor time']:.2f}")
    cells = [name, number(figure["cairn"], figure["unit"]), number(figure["qemu"], figure["unit"]),
             f"{figure['ratio']:.2f}" if figure["ratio"] else "–", *used, bound]
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="+", help="what bench.py wrote; rows of later files take the place of earlier ones")
    options = parser.parse_args()
    rows = {}
    for path in options.figures:
        with open(path) as file:
            rows |= {figure["row"]: figure for figure in json.load(file)}
    table = [
        "| Load | Cairn | QEMU | ratio | processor time | QEMU's | ratio | bound by |",
        "|---|---|---|---|---|---|---|---|",
        *map(row, rows.values())]
    with open(PAGE) as file:
        before, _, rest = file.read().partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(PAGE, "w") as file:
        file.write(before + BEGIN + "\n".join(table) + "\n" + END + after)


if __name__ == "__main__":
    main()
