"""JSON files of runs and baselines: read once, and what is wrong with one told in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slmeval.errors import DataError

#: more bytes than any run's outcomes take
_MAX_BYTES = 2**28


def read_document(path: Path) -> Any:
    """What a JSON file holds.

    :raises slmeval.errors.DataError: it cannot be read, is empty, is no JSON or not all of it, or says one
        thing twice.
    """
    return document_in(_bytes(path), str(path))


def document_in(data: bytes, called: str) -> Any:
    """What JSON holds that is there as bytes; ``called`` is how messages call it.

    :raises slmeval.errors.DataError: as of :func:`read_document`.
    """
    if not data.strip():
        raise DataError(f"{called} is empty")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise DataError(f"{called} is no JSON: it is not UTF-8, from byte {error.start} on") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{called} is no JSON: {_told(error)}") from None
    except RecursionError:
        raise DataError(f"{called} is nested too deeply to be read") from None
    except _Twice as error:
        raise DataError(f"{called} cannot be read: {error}") from None
    except ValueError:
        # Python itself reads no longer ones
        raise DataError(f"{called} cannot be read: it has a number of thousands of digits") from None


def _told(error: json.JSONDecodeError) -> str:
    at = f"{error.msg.lower()} (line {error.lineno}, column {error.colno})"
    text = error.doc.rstrip()
    whole = text.endswith(("}", "]")) and error.pos < len(text)
    return at if whole else f"{at}: it is not all there"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise DataError(f"{path} is larger than {_MAX_BYTES:,} bytes: is it a run or a baseline?")
    return data


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """:raises _Twice: a name is there twice, of which JSON would keep the last."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(f"{next(name for name in names if names.count(name) > 1)[:60]!r} is there twice")
    return made
