"""How long the command line takes to start, beside a bare interpreter and beside lm-eval, in pairs.

    python benchmarks/startup.py [--rounds 7] [--write]

Prints medians of wall seconds and the ratios round by round, and writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import pairs

#: what the others are compared with
HELP = "`slmeval --help`"


def seconds(command: Sequence[str]) -> float:
    """Wall seconds of one run of ``command``."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def commands() -> dict[str, list[str]]:
    """What is timed, by name."""
    slmeval = [sys.executable, "-m", "slmeval"]
    found = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        HELP: [*slmeval, "--help"],
        "`slmeval list tasks`": [*slmeval, "list", "tasks"],
    }
    if shutil.which("lm-eval"):
        found["`lm-eval ls tasks`"] = ["lm-eval", "ls", "tasks"]
    return found


def page(taken: Sequence[Mapping[str, float]]) -> str:
    """The table of several rounds."""
    rows = []
    for name in taken[0]:
        median = statistics.median(each[name] for each in taken)
        ratio = statistics.median(each[name] / each[HELP] for each in taken)
        rows.append([name, f"{median:.3f}", f"{ratio:.2f}"])
    last = f"{len(taken)} rounds. {pairs.surroundings_line(pairs.surroundings())}"
    return f"{pairs.table(['command', 'seconds', f'× {HELP}'], rows)}\n\n{last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    asked = parser.parse_args()
    timed = commands()
    for command in timed.values():
        seconds(command)  # the first run pays for cold files
    taken = [{name: seconds(command) for name, command in timed.items()} for _ in range(asked.rounds)]
    text = page(taken)
    print(text)
    if asked.write:
        pairs.write_table("startup", text)


if __name__ == "__main__":
    main()
