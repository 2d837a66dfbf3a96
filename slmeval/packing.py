"""Many numbers as short text: base64 of their bytes, for documents that hold the outcome of every item.

Each function that unpacks is given the count that it must find, and raises ValueError where it does not.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence

#: bytes of an item's hash
_HASH = 6
#: larger ones are no float32
LARGEST = 3.4028234e38


def float32(values: Sequence[float]) -> tuple[float, ...]:
    """Each value rounded to the nearest float32 number.

    :raises OverflowError: one is too large to be one.
    """
    return struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values))


def pack_floats(values: Sequence[float]) -> str:
    """Float32 numbers, little-endian."""
    return _text(struct.pack(f"<{len(values)}f", *values))


def unpack_floats(text: str, count: int) -> tuple[float, ...]:
    """What :func:`pack_floats` packed."""
    return struct.unpack(f"<{count}f", _bytes(text, 4 * count))


def pack_counts(values: Sequence[int]) -> str:
    """Whole numbers of 32 bits, not below 0, little-endian."""
    return _text(struct.pack(f"<{len(values)}I", *values))


def unpack_counts(text: str, count: int) -> tuple[int, ...]:
    """What :func:`pack_counts` packed."""
    return struct.unpack(f"<{count}I", _bytes(text, 4 * count))


def pack_bits(values: Sequence[bool]) -> str:
    """Eight to a byte, the first one in its highest bit."""
    whole = (len(values) + 7) // 8
    number = int("".join("1" if value else "0" for value in values).ljust(8 * whole, "0") or "0", 2)
    return _text(number.to_bytes(whole, "big"))


def unpack_bits(text: str, count: int) -> tuple[bool, ...]:
    """What :func:`pack_bits` packed."""
    raw = _bytes(text, (count + 7) // 8)
    bits = bin(int.from_bytes(b"\1" + raw, "big"))[3:]
    return tuple(bit == "1" for bit in bits[:count])


def pack_hashes(hashes: Sequence[str]) -> str:
    """Hashes of 12 hexadecimal digits."""
    return _text(bytes.fromhex("".join(hashes)))


def unpack_hashes(text: str) -> tuple[str, ...]:
    """What :func:`pack_hashes` packed; how many there are is seen from the text."""
    digits = _bytes(text, None).hex()
    if len(digits) % (2 * _HASH):
        raise ValueError(f"{len(digits) // 2} bytes are no whole number of hashes of {_HASH}")
    return tuple(digits[at : at + 2 * _HASH] for at in range(0, len(digits), 2 * _HASH))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str, length: int | None) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is no base64") from None
    if length is not None and len(raw) != length:
        raise ValueError(f"it holds {len(raw)} bytes, not {length}")
    return raw
