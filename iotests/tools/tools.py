#!/usr/bin/env python3
"""Runs the same command lines with cairn-img, cairn-io and with QEMU's programs, and compares output, messages and exit status.

    tools.py --subject .build/debug                    compares with what QEMU's programs did (golden/)
    tools.py --reference DIR --record [FILTER]         records golden/ anew with the qemu-img and qemu-io of DIR
    tools.py --subject .build/debug --reference DIR    compares with QEMU's programs live

cases/*.txt have cases: a line "== name", then shell commands, one a line, which all run in one empty folder of the case. They call the
programs `qemu-img` and `qemu-io`. A line that begins with "#" is a comment.
"""
import argparse
import difflib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {"qemu-img": "cairn-img", "qemu-io": "cairn-io"}
TIMEOUT = 60

MASKS = [
    (re.compile(r"ops; .*$", re.M), "ops; T"),
    (re.compile(r"^(\d+,1),\d+:\d\d:\d\d\.\d\d,.*$", re.M), r"\1,T"),
    (re.compile(r"Run completed in \d+\.\d+ seconds\."), "Run completed in T seconds."),
    (re.compile(r"^( *)disk size: .*$", re.M), r"\1disk size: S"),
    (re.compile(r'"actual-size": \d+'), '"actual-size": S'),
    (re.compile(r"#block\d+"), "#block"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "DATE"),
    (re.compile(r'"date-(sec|nsec)": \d+'), r'"date-\1": N'),
    (re.compile(r'"vm-clock-(sec|nsec)": \d+'), r'"vm-clock-\1": N'),
    (re.compile(r"[^\s']*: line \d+: +\d+ "), "shell: "),
]


def read_cases(path):
    """The cases of a file: name -> list of commands."""
    cases, commands = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("== "):
            commands = cases.setdefault(line[3:].strip(), [])
        elif line.strip() and not line.startswith("#"):
            commands.append(line)
    return cases


def masked(text, folder):
    text = text.replace(str(folder), "FOLDER")
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def run_case(commands, programs):
    """What each command printed, as blocks of text."""
    blocks = []
    with tempfile.TemporaryDirectory(prefix="cairn-tools-") as top:
        folder, bin_folder = pathlib.Path(top, "w"), pathlib.Path(top, "bin")
        folder.mkdir()
        bin_folder.mkdir()
        for name, target in programs.items():
            if target.exists():
                (bin_folder / name).symlink_to(target)
        environment = dict(os.environ, PATH=f"{bin_folder}:/usr/bin:/bin", LC_ALL="C", TZ="UTC", TMPDIR=str(folder))
        for command in commands:
            shell = ["timeout", "-s", "KILL", str(TIMEOUT), "/bin/bash", "-c", command]
            done = subprocess.run(shell, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
            block = [f"$ {command}"]
            for prefix, data in (("", done.stdout), ("! ", done.stderr)):
                text = masked(data.decode("utf-8", "backslashreplace"), folder)
                # What a progress bar has overwritten.
                text = re.sub(r"[^\n]*\r(?=[^\n])", "", text)
                lines = text.split("\n")
                ends = lines.pop() if lines[-1] == "" else None
                block += [prefix + line.replace("\r", "\\r") for line in lines]
                if ends is None and lines:
                    block[-1] += "\\"
            if done.returncode:
                block.append(f"[{done.returncode}]")
            blocks.append("\n".join(block).rstrip("\n"))
    return blocks


def read_golden(path):
    cases, name = {}, None
    if not path.exists():
        return cases
    for part in re.split(r"^(?=== )", path.read_text(), flags=re.M):
        if not part.strip():
            continue
        name, _, body = part.partition("\n")
        cases[name[3:]] = [block.rstrip("\n") for block in re.split(r"^(?=\$ )", body, flags=re.M) if block.strip()]
    return cases


def write_golden(path, cases):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join("\n".join([f"== {name}", *blocks]) + "\n" for name, blocks in cases.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", type=pathlib.Path, help="folder with cairn-img and cairn-io")
    parser.add_argument("--reference", type=pathlib.Path, help="folder with qemu-img and qemu-io")
    parser.add_argument("--record", action="store_true", help="record the reference's answers")
    parser.add_argument("--table", type=pathlib.Path, help="a document that must give the reason of each known difference")
    parser.add_argument("filter", nargs="*", help="only cases whose FILE/NAME contains one of these")
    arguments = parser.parse_args()
    known_path = HERE / "known-differences.json"
    known = json.loads(known_path.read_text()) if known_path.exists() else []
    passed = failed = 0
    for path in sorted((HERE / "cases").glob("*.txt")):
        golden_path = HERE / "golden" / f"{path.stem}.out"
        golden = read_golden(golden_path)
        cases = read_cases(path)
        wanted = {
            name: commands for name, commands in cases.items()
            if not arguments.filter or any(part in f"{path.stem}/{name}" for part in arguments.filter)
        }
        for name, commands in wanted.items():
            if arguments.reference:
                programs = {n: (arguments.reference / n).resolve() for n in PROGRAMS}
                expected = run_case(commands, programs)
                if arguments.record:
                    golden[name] = expected
                    continue
            else:
                expected = golden.get(name, [])
            programs = {n: (arguments.subject / s).resolve() for n, s in PROGRAMS.items()}
            actual = run_case(commands, programs)
            problem = differences(f"{path.stem}/{name}", expected, actual, known)
            if problem:
                failed += 1
                print(problem)
            else:
                passed += 1
        if arguments.record:
            write_golden(golden_path, {name: golden[name] for name in cases if name in golden})
    if arguments.record:
        return 0
    if arguments.table:
        document = " ".join(arguments.table.read_text().split())
        for entry in known:
            if entry["reason"] not in document:
                failed += 1
                print(f"{arguments.table} does not give the reason: {entry['reason']}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def differences(case, expected, actual, known):
    """What differs and is not listed, or is listed and does not differ; empty where all is well."""
    lines = []
    for index in range(max(len(expected), len(actual))):
        a = expected[index] if index < len(expected) else "(not recorded)"
        b = actual[index] if index < len(actual) else "(nothing)"
        listed = [k for k in known if k["case"] == case and index in (k["index"] if isinstance(k["index"], list) else [k["index"]])]
        if a == b and listed:
            lines.append(f"--- {case} [{index}] is listed as a difference, and is none")
        elif a != b and not listed:
            lines.append(f"--- {case} [{index}]")
            lines += list(difflib.unified_diff(a.split("\n"), b.split("\n"), "reference", "subject", lineterm="", n=30))[2:]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
