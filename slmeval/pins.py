"""What rows from the hub were when they were first fetched here: recorded then, required ever after.

A data set on the hub can change under its name, and with it every figure. The file is the user's, JSON, and
may be kept beside a project (``SLMEVAL_PINS``) so that all who work on it get the same rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from slmeval.errors import DataError

SCHEMA = "slmeval.pins/1"


class Key(NamedTuple):
    """One split on the hub."""

    hub: str
    config: str
    split: str


@dataclass(frozen=True)
class Pin:
    """The rows of a split: their hash as in a report, how many, of which commit, and the day (UTC).

    ``revision`` is what is fetched, where the user chose another than the newest.
    """

    sha256: str
    rows: int
    commit: str
    date: str
    revision: str | None = None


def default_path() -> Path:
    """``SLMEVAL_PINS``, or a file in the user's data folder."""
    if named := os.environ.get("SLMEVAL_PINS"):
        return Path(named).expanduser().absolute()
    return platformdirs.user_data_path("slmeval", appauthor=False) / "pins.json"


class Pins:
    """The pins in one file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, key: Key) -> Pin | None:
        """What is recorded of a split, if anything.

        :raises DataError: the file is damaged.
        """
        return self._read().get(key)

    def keep(self, key: Key, pin: Pin) -> None:
        """Record ``pin``; other processes may record theirs at the same time.

        :raises DataError: it cannot be written.
        """
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # behind a link, the file that it leads to: the link stays
            with FileLock(f"{self.path.resolve()}.lock"):
                _write(self.path.resolve(), {**self._read(), key: pin})
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}): the hashes of rows from the hub are kept "
                "there; SLMEVAL_PINS names another file"
            ) from None

    def _read(self) -> dict[Key, Pin]:
        if self.path.exists() and not self.path.is_file():
            raise DataError(f"{self.path} is not a file of pins: SLMEVAL_PINS names another")
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self.path} cannot be read ({error}): mend it or move it away") from None
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise DataError(
                f"{self.path} is not of the schema {SCHEMA}, and a newer slmeval may have made it: move it "
                "away, or name another with SLMEVAL_PINS"
            )
        try:
            return dict(_pinned(each) for each in _list(document["pins"]))
        except (TypeError, KeyError, ValueError):
            raise DataError(f"{self.path} holds what is no pin: mend it or move it away") from None


def _list(given: object) -> list[Any]:
    if not isinstance(given, list):
        raise TypeError(given)
    return given


def _pinned(given: Mapping[str, Any]) -> tuple[Key, Pin]:
    key = Key(given["hub"], given["config"], given["split"])
    pin = Pin(given["sha256"], given["rows"], given["commit"], given["date"], given["revision"])
    texts = (*key, pin.sha256, pin.commit, pin.date, pin.revision or "")
    if not all(isinstance(text, str) for text in texts) or not isinstance(pin.rows, int):
        raise TypeError(given)
    return key, pin


def _write(path: Path, pins: Mapping[Key, Pin]) -> None:
    """A reader sees the old file or the new one, never a part."""
    listed = [{**key._asdict(), **asdict(pin)} for key, pin in sorted(pins.items())]
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps({"schema": SCHEMA, "pins": listed}, indent=1) + "\n", encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
