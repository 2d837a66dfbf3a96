"""How long the command line takes to start, beside a bare interpreter and beside lm-eval, in pairs.

    python benchmarks/startup.py [ROUNDS]

Prints medians of wall seconds and the ratios round by round: machines drift, ratios within a round less.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence


def seconds(command: Sequence[str]) -> float:
    """Wall seconds of one run of ``command``."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def commands() -> dict[str, list[str]]:
    """What is timed, by name; the first one is what the others are compared with."""
    slmeval = [sys.executable, "-m", "slmeval"]
    found = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "slmeval --help": [*slmeval, "--help"],
        "slmeval list tasks": [*slmeval, "list", "tasks"],
    }
    if shutil.which("lm-eval"):
        found["lm-eval ls tasks"] = ["lm-eval", "ls", "tasks"]
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    timed = commands()
    for command in timed.values():
        seconds(command)  # the first run pays for cold files
    taken = [{name: seconds(command) for name, command in timed.items()} for _ in range(rounds)]
    for name in timed:
        median = statistics.median(each[name] for each in taken)
        ratio = statistics.median(each[name] / each["slmeval --help"] for each in taken)
        print(f"{name:22} {median:7.3f} s   {ratio:6.2f} x slmeval --help")


if __name__ == "__main__":
    main()
