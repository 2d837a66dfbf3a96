"""What llama.cpp says of its memory while it opens a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slmeval.api import Reading

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
