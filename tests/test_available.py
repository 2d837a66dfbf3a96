"""How much memory is left: by what the kernel tells of the machine, and of a container's limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from slmeval.available import available_memory

MEMINFO = {"proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n"}
FREE = 8_000_000 * 1024
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


def told(root: Path, files: Mapping[str, str]) -> int | None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return available_memory(root)


def v2(folder: str, most: str, used: int = 0, files: int = 0) -> dict[str, str]:
    place = f"{V2}/{folder}"
    stat = f"anon 5\ninactive_file {files}\n"
    return {f"{place}memory.max": most, f"{place}memory.current": f"{used}\n", f"{place}memory.stat": stat}


def v1(folder: str, most: int, used: int = 0, files: int = 0) -> dict[str, str]:
    place, stat = f"{V1}/{folder}", f"inactive_file 1\ntotal_inactive_file {files}\n"
    return {
        f"{place}memory.limit_in_bytes": f"{most}\n",
        f"{place}memory.usage_in_bytes": f"{used}\n",
        f"{place}memory.stat": stat,
    }


def own(path: str, line: str = "0::") -> dict[str, str]:
    return {"proc/self/cgroup": f"5:cpu,cpuacct:/other\n{line}{path}\n"}


def test_a_machine_without_groups_tells_what_is_free(tmp_path: Path) -> None:
    assert told(tmp_path, MEMINFO) == FREE


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (v2("", "max"), FREE),
        (v2("", "1000000\n", 400_000, 50_000), 650_000),
        (v2("a/b/", "1000000\n", 400_000) | own("/a/b"), 600_000),
        (v2("a/", "1000000\n", 400_000) | v2("a/b/", "max\n", 300_000) | own("/a/b"), 600_000),
        (v2("other/", "1000\n", 400) | own("/a/b"), FREE),
        (v2("", "1000\n", 2000), 0),
        (v1("", 1_000_000, 400_000, 50_000), 650_000),
        (v1("a/", 1_000_000, 400_000) | own("/a", "4:memory:"), 600_000),
        # no limit is the largest number of pages
        (v1("", 9223372036854771712, 400_000), FREE),
        # the folder of a container that sees its own as the uppermost, and the path of the machine's
        (v1("", 1_000_000, 400_000) | own("/docker/abc", "4:memory:"), 600_000),
    ],
)
def test_a_container_leaves_no_more_than_its_limit(tmp_path: Path, files: dict[str, str], left: int) -> None:
    assert told(tmp_path, MEMINFO | files) == left


def test_this_machine_tells() -> None:
    free = available_memory()
    if Path("/proc/meminfo").exists():
        assert free is not None
        assert free > 0
