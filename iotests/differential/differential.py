#!/usr/bin/env python3
"""Holds the same conversations with QEMU's storage daemon and with Cairn's, and compares what they answer.

    differential.py --subject .build/debug/cairn-storage-daemon [--reference PROGRAM] [--filter NAME] [-v]
    differential.py --reference PROGRAM --record

With a reference (or $REFERENCE_QEMU, its directory or the program) both run live, and the recordings in golden/ are
checked against the live reference; without one the subject is compared with the recordings. With --random COUNT the
conversations are made up (and the seed printed, to repeat them with --seed). Differences that are meant
are listed in known-differences.json. The last line reads `N passed, N failed`; the exit status is 0 when none failed.
"""

import argparse
import concurrent.futures
import difflib
import os
import pathlib
import signal
import sys

import daemon
import generate
import golden
import script
import steps

HERE = pathlib.Path(__file__).resolve().parent


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, break_off)
    options = parse_options()
    cases = [case for path in sorted((HERE / "scripts").glob("*.qmp")) for case in script.parse(path)]
    if options.random:
        cases = generate.cases(options.random, options.seed)
    groups = [group for group in script.chains(cases)
              if any(options.filter in case.key for case in group)]
    if not groups:
        sys.exit("no case matches")
    failures = []
    reference = hold(options.reference, groups, options.jobs, is_reference=True) if options.reference else None
    if options.random:
        print(f"seed {options.seed}")
    elif options.record:
        warn_of_failures(reference)
        record(cases, reference, complete=not options.filter)
    elif reference:
        failures += compare_recordings(reference)
    if options.subject:
        failures += compare_subject(options, groups, reference or recordings(groups))
    return conclude(options, groups, failures)


def break_off(number, _):
    """The worker threads cannot be asked to stop: end what they started, then all of it at once."""
    daemon.clear_away()
    os._exit(128 + number)


def parse_options():
    parser = argparse.ArgumentParser(description="Compare a storage daemon with the reference.")
    parser.add_argument("--reference", default=reference_of_environment(), help="the program to compare with")
    parser.add_argument("--subject", help="the program under test")
    parser.add_argument("--record", action="store_true", help="write the reference's answers into golden/")
    parser.add_argument("--filter", default="", help="run only cases whose script/name contains this")
    parser.add_argument("--table", type=pathlib.Path, help="check that this document gives each listed reason")
    parser.add_argument("--random", type=int, default=0, metavar="COUNT",
                        help="instead of the scripts hold this many random conversations with both")
    parser.add_argument("--seed", default=None, help="repeat the conversations of this seed")
    parser.add_argument("--jobs", type=int, default=4, help="how many cases run at once")
    parser.add_argument("-v", action="store_true", dest="verbose", help="name each case, show listed differences")
    options = parser.parse_args()
    options.reference = program(options.reference)
    options.subject = program(options.subject)
    if options.record and not options.reference:
        parser.error("--record needs --reference")
    if options.random and (not options.reference or not options.subject or options.record):
        parser.error("--random needs --reference and --subject, and records nothing")
    options.seed = options.seed or str(int.from_bytes(os.urandom(4), "big"))
    if not options.reference and not options.subject:
        parser.error("nothing to run: give --subject, --reference or both")
    return options


def program(path):
    if path is None:
        return None
    if not os.access(path, os.X_OK):
        sys.exit(f"{path}: not a program")
    return os.path.abspath(path)


def reference_of_environment():
    path = os.environ.get("REFERENCE_QEMU")
    return os.path.join(path, "qemu-storage-daemon") if path and os.path.isdir(path) else path or None


def hold(path, groups, jobs, is_reference):
    """Runs all groups against a program: {case key: [(step text, lines)]}."""
    def hold_one(group):
        runner = steps.Runner(path, is_reference)
        found = {}
        try:
            for case in group:
                found[case.key] = runner.run_case(case)
        finally:
            left = runner.finish()
        found[group[-1].key].append(("(end)", left))
        return found

    transcripts = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(hold_one, groups):
            transcripts.update(found)
    return transcripts


def recordings(groups):
    """What is recorded for the cases of these groups."""
    found = {}
    for name in {case.script for group in groups for case in group}:
        for case, entries in golden.read(HERE / "golden" / f"{name}.out").items():
            found[f"{name}/{case}"] = entries
    return found


def record(cases, transcripts, complete):
    """Writes recordings; with a filter, only the cases that ran are replaced."""
    by_script = {}
    for case in cases:
        by_script.setdefault(case.script, []).append(case)
    for name, members in by_script.items():
        path = HERE / "golden" / f"{name}.out"
        old = golden.read(path)
        merged = {each.name: transcripts.get(each.key) or old.get(each.name) for each in members}
        golden.write(path, {key: value for key, value in merged.items() if value is not None})
    if complete:
        for path in (HERE / "golden").glob("*.out"):
            if path.stem not in by_script:
                path.unlink()


def warn_of_failures(transcripts):
    """A script that does not get through with the reference is usually wrong."""
    for key, entries in transcripts.items():
        for index, (text, lines) in enumerate(entries):
            if any(line.startswith("(") for line in lines):
                print(f"{key} [{index}] {text}: {lines[0]}", file=sys.stderr)


def compare_recordings(reference):
    """The live reference against its recordings."""
    recorded = recordings_of(reference)
    return [(key, differing, "recording") for key, entries in reference.items()
            if (differing := differences(recorded.get(key), entries))]


def recordings_of(transcripts):
    found = {}
    for name in {key.split("/", 1)[0] for key in transcripts}:
        for case, entries in golden.read(HERE / "golden" / f"{name}.out").items():
            found[f"{name}/{case}"] = entries
    return found


def compare_subject(options, groups, expected):
    """The subject against what is expected, apart from the differences that are meant."""
    known = golden.KnownDifferences(HERE / "known-differences.json")
    answers = hold(options.subject, groups, options.jobs, is_reference=False)
    failures = []
    for key, entries in answers.items():
        found = differences(expected.get(key), entries)
        if options.random:
            found = [each for each in found if each[0] < end_of(expected[key]) and not meant_anywhere(each)]
        meant = [each for each in found if known.accepts(key, each[0])]
        unmeant = [each for each in found if each not in meant]
        if unmeant:
            failures.append((key, unmeant, "subject"))
        if options.verbose and meant:
            report(key, meant, "listed")
    for key, index in known.unused(set(answers)):
        failures.append((key, [(index, "(listed as different, but equal)", [], [])], "known-differences.json"))
    if options.table:
        failures += [("known-differences.json", [(0, f"{options.table} does not say: {reason}", [], [])], "table")
                     for reason in known.missing_reasons(options.table)]
    return failures


def differences(expected, entries):
    """[(index, step text, expected lines, found lines)] of the steps that differ."""
    if expected is None:
        return [(0, "(no recording)", [], [])]
    found = []
    for index in range(max(len(expected), len(entries))):
        left = expected[index] if index < len(expected) else ("(no such step)", [])
        right = entries[index] if index < len(entries) else ("(no such step)", [])
        if left != right:
            found.append((index, right[0], left[1], right[1]))
    return found


def end_of(entries):
    """The step at which the daemon was gone, in a conversation that nobody has looked through."""
    return next((index for index, (_, lines) in enumerate(entries) if "(the daemon closed the connection)" in lines),
                len(entries))


def meant_anywhere(difference):
    """Differences that known-differences.json lists where they show, and that show up in any conversation."""
    _, text, expected, lines = difference
    if text.startswith("@nbd-status") and [each[:16] for each in expected + lines] == ["base:allocation:"] * 2:
        # What the host's file system calls a hole depends on what was read before.
        return True
    return text.startswith("@nbd-") and expected == ["nbd: EINVAL"] and lines in (["nbd: EPERM"], ["nbd: ENOSPC"])


def report(key, found, kind):
    print(f"--- {key} ({kind})")
    for index, text, expected, lines in found:
        print(f"[{index}] {text}")
        for line in list(difflib.unified_diff(expected, lines, lineterm="", n=2))[2:]:
            print(f"    {line}")


def conclude(options, groups, failures):
    failed = {key for key, _, _ in failures}
    if options.verbose:
        for group in groups:
            for case in group:
                print(f"{'FAIL' if case.key in failed else 'pass'} {case.key}")
    for failure in failures:
        report(*failure)
    total = len({case.key for group in groups for case in group} | failed)
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
