"""What llama.cpp says of its memory while it opens a model, and whether a cache will fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from slmeval.api import Reading
from slmeval.gguf_file import GGUFHeader
from slmeval_llamacpp.settings import Settings

_BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s+([\d.]+) MiB")
_SCOPES = {
    "model": "weights",
    "KV": "cache",
    "RS": "recurrent state",
    "compute": "compute",
    "output": "logits",
}


def readings(lines: Iterable[str]) -> Iterator[Reading]:
    """The buffers in the lines of its log, in bytes; it rounds them to a hundredth of a MiB."""
    for line in lines:
        if found := _BUFFER.search(line):
            scope = f"{_SCOPES[found[2]]} ({found[1]})"
            yield Reading(round(float(found[3]) * 2**20), "bytes", 0.0, scope, "llama.cpp's log")


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


def available() -> int | None:
    """Bytes of memory that are still to be had, where the system says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
