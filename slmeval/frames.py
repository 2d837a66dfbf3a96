"""Frames on a byte stream: a length in eight bytes (big-endian), then the payload."""

from __future__ import annotations

import struct
from typing import BinaryIO

_HEADER = struct.Struct(">Q")
#: more than this is a damaged stream, not a message (1 GiB)
_LIMIT = 1 << 30


def write_frame(stream: BinaryIO, payload: bytes) -> None:
    """Write one frame and flush it.

    :raises OSError: the other end is gone.
    """
    stream.write(_HEADER.pack(len(payload)) + payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next payload; ``None`` at the end of the stream, also in the middle of a frame."""
    header = _read_exactly(stream, _HEADER.size)
    if header is None:
        return None
    (length,) = _HEADER.unpack(header)
    if length > _LIMIT:
        raise OSError(f"a frame of {length} bytes: the stream is damaged")
    return _read_exactly(stream, length)


def _read_exactly(stream: BinaryIO, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = stream.read(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
