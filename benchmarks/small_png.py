"""Pictures of pages as small PNG files: a table of their colours instead of each pixel's own.

Source: the PNG specification (W3C), sections 9 to 11; what Chromium writes is RGB or RGBA of 8 bits.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_HEAD = b"\x89PNG\r\n\x1a\n"
#: lowest bits that may be left out of each colour, until 256 colours are enough
_MOST_BITS = 4


def smaller(png: bytes) -> bytes:
    """The same picture, with at most 256 colours where no more than the lowest bits are lost by that."""
    pixels = _pixels(png)
    for bits in range(_MOST_BITS + 1):
        coarse = (pixels >> bits) << bits
        flat = coarse.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        colours, places = np.unique(flat, return_inverse=True)
        if len(colours) <= 256:
            return min(_indexed(pixels, places.reshape(flat.shape), len(colours)), png, key=len)
    return png


def _pixels(png: bytes) -> np.ndarray:
    """height × width × 3"""
    parts, at = [], len(_HEAD)
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, woven = struct.unpack(">IIBBBBB", body)
            assert (depth, woven) == (8, 0)
            assert colour in (2, 6)
        elif kind == b"IDAT":
            parts.append(body)
        at += 12 + size
    channels = 3 if colour == 2 else 4
    lines = np.frombuffer(zlib.decompress(b"".join(parts)), np.uint8).reshape(height, -1)
    return _unfiltered(lines, channels).reshape(height, width, channels)[..., :3]


def _unfiltered(lines: np.ndarray, channels: int) -> np.ndarray:
    """What the filters of the lines left of each byte, put back (modulo 256)."""
    found = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(lines.shape[1] - 1, np.uint8)
    for place, line in enumerate(lines):
        above = found[place] = _unfilter_line(int(line[0]), line[1:], above, channels)
    return found


def _unfilter_line(kind: int, line: np.ndarray, above: np.ndarray, channels: int) -> np.ndarray:
    if kind == 0:
        return line
    if kind == 1:
        summed = np.cumsum(line.reshape(-1, channels), axis=0, dtype=np.uint8)
        return summed.reshape(-1)
    if kind == 2:
        return line + above
    whole = bytearray(len(line))
    for at, value in enumerate(line.tolist()):
        left = whole[at - channels] if at >= channels else 0
        up = int(above[at])
        corner = int(above[at - channels]) if at >= channels else 0
        guess = (left + up) // 2 if kind == 3 else _paeth(left, up, corner)
        whole[at] = (value + guess) & 255
    return np.frombuffer(bytes(whole), np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda each: abs(guess - each))


def _indexed(pixels: np.ndarray, places: np.ndarray, count: int) -> bytes:
    """A PNG with a table of colours; each is the mean of what it stands for."""
    flat = places.reshape(-1)
    many = np.bincount(flat, minlength=count)
    table = [np.bincount(flat, pixels[..., each].reshape(-1), count) / many for each in range(3)]
    palette = np.rint(np.stack(table, axis=1)).astype(np.uint8)
    height, width = places.shape
    lines = np.zeros((height, width + 1), np.uint8)
    lines[:, 1:] = places
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return _HEAD + b"".join(_chunk(*each) for each in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
