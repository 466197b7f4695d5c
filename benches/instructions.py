#!/usr/bin/env python3
"""Counts the instructions of the main paths with callgrind, and compares them with those on record.

    benches/instructions.py             fails where a count differs by more than 3 %
    benches/instructions.py --update    puts the counts on record, in benches/instructions.toml

A count is that of one time: a run of n times is subtracted from one of 2 n, so that what comes before the
first time is not in it. The compiler is on record too: with another one the counts are printed and not
compared. Exit status: 0 all are the same, or were not compared; 1 one differs, or could not be counted.
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RECORD = HERE / "instructions.toml"
TIMES = 6_400
TOLERANCE = 0.03
# Less than this is noise of where a loop's own instructions fall.
TOLERANCE_INSTRUCTIONS = 0.5


def run(*command):
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"instructions: FAILED: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


def build():
    """The built program."""
    built = run("cargo", "bench", "--bench", "instructions", "--no-run", "--quiet",
                "--message-format=json")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    sys.exit("instructions: FAILED: cargo names no program")


def names():
    source = (HERE / "instructions.rs").read_text()
    listed = source[source.index("const PATHS"):source.index("];", source.index("const PATHS"))]
    return re.findall(r'\("([^"]+)",', listed)


def collected(program, name, times):
    counted = run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name,
                  str(times))
    found = re.search(r"Collected : (\d+)", counted.stderr)
    if not found:
        sys.exit(f"instructions: FAILED: callgrind gives no count\n{counted.stderr}")
    return int(found.group(1))


def count(program, name):
    return (collected(program, name, 2 * TIMES) - collected(program, name, TIMES)) / TIMES


def compiler():
    shown = run("rustc", "-vV").stdout
    host = re.search(r"host: (\S+)", shown).group(1)
    return f"{shown.splitlines()[0]} {host}"


def record():
    """The compiler and the counts on record."""
    if not RECORD.exists():
        return None, {}
    text = RECORD.read_text()
    with_compiler = re.search(r'^compiler = "(.*)"$', text, re.M)
    counts = re.findall(r'^"(.*)" = ([0-9.]+)$', text, re.M)
    return with_compiler.group(1), {name: float(value) for name, value in counts}


def update(counts):
    lines = "".join(f'"{name}" = {value:.1f}\n' for name, value in counts.items())
    RECORD.write_text(
        "# Instructions of the main paths, one time each: benches/instructions.py --update\n"
        f'compiler = "{compiler()}"\n\n[instructions]\n{lines}')


def main():
    program = build()
    counts = {name: count(program, name) for name in names()}
    if "--update" in sys.argv[1:]:
        update(counts)
    recorded_with, recorded = record()
    wrong = []
    for name, value in counts.items():
        before = recorded.get(name)
        shown = "not on record" if before is None else f"on record {before:.1f}"
        print(f"{name:<36}{value:>10.1f}   {shown}")
        allowed = max((before or 0) * TOLERANCE, TOLERANCE_INSTRUCTIONS)
        if before is None or abs(value - before) > allowed:
            wrong.append(name)
    wrong += [f"{name} (on record, and not counted)" for name in recorded if name not in counts]
    if recorded_with is not None and recorded_with != compiler():
        print(f"instructions: not compared: on record is {recorded_with}, this is {compiler()}")
    elif wrong:
        sys.exit("instructions: FAILED: these differ by more than 3 %: " + "; ".join(wrong)
                 + "\nWhere that is meant: benches/instructions.py --update")


if __name__ == "__main__":
    main()
