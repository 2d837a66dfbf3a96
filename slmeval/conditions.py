"""How this machine is while something is measured on it. What it does not tell, or not truly, is ``None``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from slmeval.types import Conditions

#: the kernel counts a core's time in ticks: what is shorter says too little (seconds)
SHORTEST = 0.1
#: the counters must add up to the time of all cores within this share, or they are not this machine's
AMISS = 0.25
#: other processes that take this share of all cores' time are worth a sentence
LOADED = 0.1
#: a server may be known by a name that does not tell whose machine it is on, and a loopback lead elsewhere
_SERVER = ", the server's among them if it runs on this machine,"


class Watch:
    """Looks at the machine now and then::

    watch = Watch()
    now = watch.look()

    ``root`` is the folder in which ``proc`` and ``sys`` lie; ``pid`` is the process that is measured, whose
    children count as itself.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        clock: Callable[[], float] = time.perf_counter,
        pid: int | None = None,
        cores: Sequence[int] | None = None,
    ) -> None:
        self._root, self._clock = root, clock
        self._pid = os.getpid() if pid is None else pid
        self._cores = _usable() if cores is None else tuple(cores)
        self._began = clock()
        self._before = self._spent()

    def look(self) -> Conditions:
        """The machine at this moment; ``busy`` is since the look before, or since the watch was made."""
        return Conditions(
            at=self._clock() - self._began,
            clock=_clock(self._root, self._cores),
            governor=_governor(self._root, self._cores),
            load=_load(self._root),
            busy=self._busy(),
            temperature=_temperature(self._root),
        )

    def _busy(self) -> float | None:
        now = self._spent()
        if now is None or self._before is None:
            self._before = now
            return None
        if now.at - self._before.at < SHORTEST:
            return None
        before, self._before = self._before, now
        return _share_of_others(before, now)

    def _spent(self) -> _Spent | None:
        """The time spent so far, where the kernel tells both the cores' and the process's."""
        cores = _core_times(self._root, self._cores)
        ours = _tree_time(self._root / "proc", self._pid)
        if not cores or ours is None:
            return None
        whole, idle = (sum(each) for each in zip(*cores, strict=True))
        return _Spent(self._clock(), len(cores), whole, idle, ours)


def told_load(conditions: Sequence[Conditions], cores: int, *, served: bool = False) -> str | None:
    """A sentence for the report where other processes loaded the machine while it was measured.

    ``served``: the model is a server's, which may be one of them.
    """
    begins = [0.0, *(each.at for each in conditions)]
    spans = [
        (each.at - before, each.busy)
        for before, each in zip(begins, conditions, strict=False)
        if each.busy is not None and each.at > before
    ]
    if spans:
        share = math.fsum(span * busy for span, busy in spans) / math.fsum(span for span, _ in spans)
        others = f"other processes{_SERVER if served else ''}"
        told = f"{others} took {share:.0%} of the {cores} cores while this was measured"
        return told if share >= LOADED else None
    return _told_queue(conditions, cores)


def _told_queue(conditions: Sequence[Conditions], cores: int) -> str | None:
    """Where it is not told who took the cores: were there many more processes than cores at the beginning?"""
    load = next((each.load for each in conditions if each.load is not None), 0.0)
    # the worker itself may have had a thread on each core the minute before
    if load < 1.5 * cores + 1:
        return None
    return f"{load:.1f} processes ran or waited for the {cores} cores in the minute before this was measured"


# ---- who took the cores ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spent:
    """Ticks of the cores at a moment: all of them, those in which nothing ran, and the process's own."""

    at: float
    cores: int
    whole: int
    idle: int
    ours: int


def _share_of_others(before: _Spent, now: _Spent) -> float | None:
    whole, idle, ours = now.whole - before.whole, now.idle - before.idle, now.ours - before.ours
    expected = (now.at - before.at) * now.cores * os.sysconf("SC_CLK_TCK")
    rounding = 2 * now.cores
    others = whole - idle - ours
    # a container may be shown counters that stand still, or another machine's
    if abs(whole - expected) > AMISS * expected + rounding or others < -(AMISS * expected + rounding):
        return None
    return min(max(others / whole, 0.0), 1.0) if whole else None


def _core_times(root: Path, cores: Sequence[int]) -> list[tuple[int, int]]:
    """For each of the ``cores``, its ticks and those of them in which nothing ran.

    Time that a hypervisor gave to other machines ("steal") is taken by others.
    """
    wanted = {f"cpu{core}" for core in cores}
    found = []
    for line in _lines(root / "proc" / "stat"):
        name, *fields = line.split()
        if name in wanted and len(fields) >= 4:
            # guests' time, the ninth and tenth field, is in the users' already
            ticks = [int(field) for field in fields[:8]]
            found.append((sum(ticks), sum(ticks[3:5])))
    return found


def _tree_time(proc: Path, pid: int) -> int | None:
    """Ticks that a process and those that it started have taken, those that have ended among them."""
    told = {}
    parents: dict[int, list[int]] = {}
    for path in proc.glob("[0-9]*/stat"):
        fields = _process_fields(path)
        if fields:
            number = int(path.parent.name)
            told[number] = sum(int(field) for field in fields[11:15])
            parents.setdefault(int(fields[1]), []).append(number)
    if pid not in told:
        return None
    return sum(told[each] for each in _family(parents, pid))


def _family(parents: dict[int, list[int]], pid: int) -> Iterator[int]:
    yield pid
    for child in parents.get(pid, ()):
        yield from _family(parents, child)


def _process_fields(path: Path) -> list[str]:
    """The fields of a process's ``stat`` from its state on; none where it has ended meanwhile."""
    # a command's name, in brackets, may hold brackets and blanks
    fields = "".join(_lines(path)).rpartition(")")[2].split()
    return fields if len(fields) >= 15 else []


# ---- clock, load and heat ----------------------------------------------------------------------------


def _usable() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _clock(root: Path, cores: Sequence[int]) -> float | None:
    """The mean clock of the ``cores`` in MHz."""
    kilohertz = [number for text in _scaling(root, cores, "cur_freq") if (number := _number(text))]
    if kilohertz:
        return fmean(kilohertz) / 1000
    clocks = list(_cpuinfo_clocks(root, cores))
    return fmean(clocks) if clocks else None


def _cpuinfo_clocks(root: Path, cores: Sequence[int]) -> Iterator[float]:
    """MHz by ``cpuinfo``, where it measures them: without "aperfmperf" it says what the core was sold as."""
    for block in "\n".join(_lines(root / "proc" / "cpuinfo")).split("\n\n"):
        told = dict(_key_and_value(line) for line in block.splitlines())
        measured = "aperfmperf" in told.get("flags", "").split()
        number = _number(told.get("cpu MHz", ""))
        if measured and number and _number(told.get("processor", "")) in cores:
            yield number


def _key_and_value(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _governor(root: Path, cores: Sequence[int]) -> str:
    return ", ".join(sorted({*_scaling(root, cores, "governor")}))


def _scaling(root: Path, cores: Sequence[int], what: str) -> Iterator[str]:
    folder = root / "sys" / "devices" / "system" / "cpu"
    for core in cores:
        yield from _lines(folder / f"cpu{core}" / "cpufreq" / f"scaling_{what}")[:1]


def _load(root: Path) -> float | None:
    told = "".join(_lines(root / "proc" / "loadavg")).split()
    if told:
        # there is at least the process that asks: a sandbox that counts none does not tell
        counted = len(told) >= 4 and told[3].rpartition("/")[2] != "0"
        return _number(told[0]) if counted else None
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _temperature(root: Path) -> float | None:
    """The hottest zone in degrees Celsius; a sensor that shows what no chip survives is not connected."""
    zones = (root / "sys" / "class" / "thermal").glob("thermal_zone*/temp")
    told = [_number("".join(_lines(path))) for path in zones]
    degrees = [millis / 1000 for millis in told if millis is not None and 0 < millis < 150_000]
    return max(degrees, default=None)


def _lines(path: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
