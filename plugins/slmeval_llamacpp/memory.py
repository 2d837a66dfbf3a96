"""What llama.cpp says of its memory, and whether a cache will fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from slmeval.api import Reading
from slmeval.gguf_file import GGUFHeader
from slmeval_llamacpp.settings import Settings

#: a file that is mapped into memory is the CPU's
_BUFFER = re.compile(r"(\S+?)(?:_Mapped)?\s+(model|KV|RS|compute|output) buffer size =\s+([\d.]+) MiB")
_PARTS = {
    "model": "weights",
    "KV": "kv cache",
    "RS": "state",
    "compute": "compute",
    "output": "logits",
}


def readings(lines: Iterable[str], exact: Mapping[str, tuple[int, str]]) -> Iterator[Reading]:
    """The buffers in the lines of its log, in bytes, which it rounds to a hundredth of a MiB.

    ``exact``: of a part, all its bytes and who says so; they are used where it lies on one device.
    """
    logged = _logged(lines)
    devices = Counter(part for part, _ in logged)
    for (part, device), size in logged.items():
        value, source = exact[part] if part in exact and devices[part] == 1 else (size, "llama.cpp's log")
        yield Reading(float(value), "bytes", 0.0, f"{part} ({device})", source)


def _logged(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """Bytes by part and device: a file in pieces, or a cache of two kinds, has several lines."""
    sizes: Counter[tuple[str, str]] = Counter()
    for line in lines:
        if found := _BUFFER.search(line):
            sizes[_PARTS[found[2]], found[1]] += round(float(found[3]) * 2**20)
    return sizes


def cache_bytes(header: GGUFHeader, settings: Settings, cells: int) -> int:
    """What keys and values of ``cells`` tokens take at most: 0 where the header does not tell.

    Layers with a sliding window, and those that have none, are counted as if they were like the others.
    """
    layers, heads, width = (
        header.of_architecture(key) for key in ("block_count", "attention.head_count", "embedding_length")
    )
    groups = header.of_architecture("attention.head_count_kv") or heads
    if not all(isinstance(value, int) and value for value in (layers, heads, width, groups)):
        return 0
    keys = header.of_architecture("attention.key_length") or width // heads
    values = header.of_architecture("attention.value_length") or width // heads
    key_bits, value_bits = settings.kv_bits
    return int(cells * layers * groups * (keys * key_bits + values * value_bits) / 8)
