"""Pictures with a table of colours show what they showed before."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from small_png import smaller


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(pixels: np.ndarray, kind: int) -> bytes:
    """The lines of a picture by one of the five filters, straight from their definition."""
    height, width, channels = pixels.shape
    wide = np.zeros((height + 1, width + 1, channels), int)
    wide[1:, 1:] = pixels
    here, left, up, corner = wide[1:, 1:], wide[1:, :-1], wide[:-1, 1:], wide[:-1, :-1]
    guess = left + up - corner
    near = np.abs(np.stack([left, up, corner]) - guess).argmin(axis=0)
    paeth = np.choose(near, [left, up, corner])
    taken = [0, left, up, (left + up) // 2, paeth][kind]
    lines = ((here - taken) % 256).astype(np.uint8).reshape(height, -1)
    return b"".join(bytes([kind]) + line.tobytes() for line in lines)


def png(pixels: np.ndarray, kind: int) -> bytes:
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    data = zlib.compress(filtered(pixels, kind), 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", data[:50]), chunk(b"IDAT", data[50:]), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read_indexed(made: bytes) -> np.ndarray:
    parts, at = {}, 8
    while at < len(made):
        size, kind = struct.unpack_from(">I4s", made, at)
        body = made[at + 8 : at + 8 + size]
        assert made[at + 8 + size : at + 12 + size] == struct.pack(">I", zlib.crc32(kind + body))
        parts[kind] = body
        at += 12 + size
    width, height, _, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert colour == 3
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)[lines[:, 1:]]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", range(5))
def test_a_picture_of_few_colours_is_the_same(kind: int, channels: int) -> None:
    draws = np.random.default_rng(kind)
    table = draws.integers(0, 256, (200, 3))
    pixels = np.full((40, 30, channels), 255)
    pixels[..., :3] = table[draws.integers(0, 200, (40, 30))]
    made = smaller(png(pixels, kind))
    assert np.array_equal(read_indexed(made), pixels[..., :3])


def test_of_more_colours_the_most_frequent_stay_and_none_moves_far() -> None:
    grey = np.arange(256)
    pixels = np.stack([*np.meshgrid(grey, grey[::16]), np.full((16, 256), 255)], axis=-1)
    page = np.concatenate([np.full((100, 256, 3), 247), np.full((100, 256, 3), 249), pixels])
    made = smaller(png(page, 1))
    found = read_indexed(made).astype(int)
    assert len(made) < len(png(page, 1))
    assert np.array_equal(found[:200], page[:200])
    assert 0 < np.abs(found - page).max() <= 24


def test_a_photograph_stays_as_it_is() -> None:
    noise = png(np.random.default_rng(1).integers(0, 256, (50, 100, 3)), 4)
    assert smaller(noise) == noise
