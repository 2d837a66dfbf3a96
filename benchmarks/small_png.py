"""Pictures of pages as small PNG files: a table of their colours instead of each pixel's own.

Source: the PNG specification (W3C), sections 9 to 11; what Chromium writes is RGB or RGBA of 8 bits.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_HEAD = b"\x89PNG\r\n\x1a\n"
#: colours that are kept as they are because most pixels have them; the others are those farthest from these
_FREQUENT = 192
#: how far a colour may be moved, in steps of 255 of each of red, green and blue
_FARTHEST = 24
#: a picture of more colours is no page
_MOST = 20_000


def smaller(png: bytes) -> bytes:
    """The same picture with at most 256 colours, where no pixel is changed by more than can be seen."""
    pixels = _pixels(png)
    flat = pixels.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    numbers, places, many = np.unique(flat, return_inverse=True, return_counts=True)
    if len(numbers) > _MOST:
        return png
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.int16)
    palette, nearest, moved = _palette(colours, many)
    if moved > _FARTHEST:
        return png
    return min(_indexed(palette, nearest[places].reshape(pixels.shape[:2])), png, key=len)


def _palette(colours: np.ndarray, many: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The colours that are kept, which of them stands for each, and how far the farthest is moved."""
    kept = list(np.argsort(-many, kind="stable")[:_FREQUENT])
    away = np.full(len(colours), np.iinfo(np.int16).max, np.int16)
    nearest = np.zeros(len(colours), np.uint8)
    for place in range(min(256, len(colours))):
        if place == len(kept):
            kept.append(int(np.argmax(away)))
        # of three differences the largest
        there = np.abs(colours - colours[kept[place]]).max(axis=1)
        nearest[there < away] = place
        away = np.minimum(away, there)
    return colours[kept].astype(np.uint8), nearest, int(away.max())


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


def _indexed(palette: np.ndarray, places: np.ndarray) -> bytes:
    """A PNG with a table of colours."""
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
