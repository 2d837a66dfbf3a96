"""What the operating system counts as the memory of this process, and of those that it started.

Linux: ``/proc/PID/status`` (proc_pid_status(5)); macOS: ``getrusage``, which tells this process's peak alone.
Linux's own ``getrusage`` is not asked: in it a process inherits the peak of the one that started it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: seconds between two looks of a :class:`Watch`
LOOK = 0.001

_PROC = Path("/proc")
_FIELDS = {"VmRSS": "held", "VmHWM": "peak", "RssFile": "files"}


@dataclass(frozen=True)
class ProcessMemory:
    """Bytes; ``None`` where the system does not tell.

    ``held``: resident now, pages shared with others included. ``peak``: the most that was. ``files``: what of
    ``held`` is pages of files, which the system can drop and read again. Of several processes these
    are sums: pages that they share count in each, and their peaks need not have been at one time.
    """

    held: int | None = None
    peak: int | None = None
    files: int | None = None
    processes: int = 1


def process_memory() -> ProcessMemory:
    """The memory of this process, and on Linux of all below it, now."""
    if (_PROC / "self" / "status").is_file():
        return _of(family())
    return ProcessMemory(peak=_peak_of_darwin()) if sys.platform == "darwin" else ProcessMemory()


def family() -> tuple[int, ...]:
    """The numbers of this process and of all that it started and that still run (Linux)."""
    return tuple(_family(os.getpid()))


def of_status(text: str) -> ProcessMemory:
    """What a process's ``status`` file says, whose kB are 1,024 bytes."""
    lines = (line.partition(":") for line in text.splitlines())
    return ProcessMemory(
        **{_FIELDS[name]: 1024 * int(rest.split()[0]) for name, _, rest in lines if name in _FIELDS}
    )


def settle() -> None:
    """Give back what nobody uses: garbage, and on glibc what its allocator keeps (malloc_trim(3)).

    What is needed next would else be found there, and not be seen as growth.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Watch:
    """Looks at this process's memory from a thread, about every millisecond, while something runs.

    ::

        with Watch() as watch:
            run()
        watch.top

    The system's own peak is that of a process's whole life: what was held at most during a part of it is
    seen there only if that part was the peak. A process of which it was is counted with that peak.
    """

    def __init__(self, look: Callable[[], Mapping[int, ProcessMemory]] | None = None) -> None:
        # which processes there are takes longer to find than what they hold
        numbers = family()
        self._look = look or (lambda: _each(numbers))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._most: dict[int, int] = {}
        #: bytes held at most; ``None`` where the system does not tell
        self.top: int | None = None

    def __enter__(self) -> Watch:
        self._before = self._look()
        self._see(self._before)
        if self.top is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.top is None:
            return
        self._over.set()
        self._thread.join()
        after = self._look()
        self._see(after)
        self.top += sum(self._unseen(number, now) for number, now in after.items())

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            self._see(self._look())

    def _see(self, processes: Mapping[int, ProcessMemory]) -> None:
        held = {number: each.held for number, each in processes.items() if each.held is not None}
        self._most |= {number: max(size, self._most.get(number, 0)) for number, size in held.items()}
        if held:
            self.top = max(self.top or 0, sum(held.values()))

    def _unseen(self, number: int, now: ProcessMemory) -> int:
        """What no look saw of a process's peak; below 0 where Linux, which counts with a delay, told more."""
        if now.peak is None or now.held is None:
            return 0
        beyond = now.peak - self._most[number]
        before = self._before.get(number)
        # a sum of peaks would bring back that of a process that did nothing now as another's rises by a page
        return beyond if before is None or now.peak != before.peak else min(beyond, 0)


def _of(numbers: Iterable[int]) -> ProcessMemory:
    """The sums over processes that run; one that has ended meanwhile counts as nothing."""
    found = _each(numbers).values()
    if not found:
        return ProcessMemory()
    return ProcessMemory(
        sum(each.held or 0 for each in found),
        sum(each.peak or 0 for each in found),
        sum(each.files or 0 for each in found),
        len(found),
    )


def _each(numbers: Iterable[int]) -> dict[int, ProcessMemory]:
    told = {number: of_status(_read(_PROC / str(number) / "status")) for number in numbers}
    return {number: each for number, each in told.items() if each.held is not None}


def _family(number: int) -> Iterator[int]:
    yield number
    for file in (_PROC / str(number) / "task").glob("*/children"):
        for child in _read(file).split():
            yield from _family(int(child))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile, or the system has no such file
        return ""


def _peak_of_darwin() -> int:
    import resource

    # in bytes there, in kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
