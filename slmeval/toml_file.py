"""TOML files that people write by hand: read once, and what is wrong with one told in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from slmeval.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: more bytes than anybody writes by hand
_MAX_BYTES = 2**20


def read_bytes(path: Path, what: str) -> bytes:
    """The whole file; ``what`` it should be ("task file") is said where it cannot be read.

    :raises UsageError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than {_MAX_BYTES:,} bytes: is it a {what}?")
    return data


def parsed(path: Path, data: bytes) -> dict[str, Any]:
    """The keys of a file and their values.

    :raises UsageError: it is no TOML.
    """
    try:
        table: dict[str, Any] = tomllib.loads(data.decode())
        return table
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8, from byte {error.start} on") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except ValueError as error:
        # a number of thousands of digits
        raise UsageError(f"{path} cannot be read: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply to be read") from None
