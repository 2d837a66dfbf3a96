"""How much memory is still to be had: on this machine, and in the container that this process is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping; ``None`` where it is not told.

    They are what Linux estimates, or what a control group leaves (a container's limit) where that is less.
    ``root`` is the folder in which ``proc`` and ``sys`` lie.
    """
    told = [*_of_machine(root), *(left for groups in _VERSIONS for left in groups.left(root))]
    return min(told, default=None)


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc" / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


@dataclass(frozen=True)
class _Groups:
    """A version of control groups: its ``controller`` as in ``/proc/self/cgroup``, and its files' names.

    ``files``: of what is ``used``, pages of files that the system would drop first.
    """

    controller: str
    place: str
    most: str
    used: str
    files: str

    def left(self, root: Path) -> Iterator[int]:
        """What each group that this process is in leaves, where it has a limit."""
        for folder in self._folders(root):
            most, used = _number(folder / self.most), _number(folder / self.used)
            if most is not None and used is not None:
                stat = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat") if " " in line)
                yield max(0, most - used + int(stat.get(self.files, 0)))

    def _folders(self, root: Path) -> Iterator[Path]:
        """Its own and those above it; a container may see its own as the uppermost."""
        uppermost = root / self.place
        yield uppermost
        for line in _lines(root / "proc" / "self" / "cgroup"):
            _, controllers, path = line.split(":", 2)
            if self.controller in controllers.split(","):
                own = PurePosixPath(path.lstrip("/"))
                yield from (uppermost / each for each in (own, *own.parents) if each.parts)


_VERSIONS = (
    _Groups("", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    _Groups(
        "memory",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def _number(file: Path) -> int | None:
    """What stands in a file; ``None`` where it cannot be read, or is no number ("max")."""
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
