"""What this machine is, from the standard library alone."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

from slmeval.available import available_memory
from slmeval.types import Machine


def this_machine() -> Machine:
    """The machine this process runs on; memory in bytes, 0 where the system does not say."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=_cores(),
        memory=_memory(),
        python=platform.python_version(),
        accelerators=_accelerators(),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    # what this process may use, which in a container is less than the machine has
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


@cache
def _accelerators() -> tuple[str, ...]:
    # asked once in a process: starting a program takes long beside what else is asked
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())


def largest_memory() -> int | None:
    """Bytes free in main memory, or of the largest accelerator where that has more."""
    free = available_memory()
    told = (re.search(r"(\d+) MiB", name) for name in this_machine().accelerators)
    devices = [int(found[1]) * 2**20 for found in told if found]
    return max([free, *devices]) if free is not None else None
