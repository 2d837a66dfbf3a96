"""A run that was made elsewhere, brought here as its document: checked, kept once, and known again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from slmeval.baselines import baseline_from
from slmeval.document import from_document, to_document
from slmeval.errors import DataError
from slmeval.json_file import document_in
from slmeval.service.ledger import Event, Ledger
from slmeval.service.listing import find_run
from slmeval.service.problems import Refused
from slmeval.service.schemas import RUN_ID
from slmeval.store import UPLOADED, Store
from slmeval.types import CellResult, RunResult

_CALLED = "the upload"
#: not an id, for it names the newest run
_LAST = "last"
#: whole numbers that a store can keep
_LARGEST = 2**63 - 1
#: what a run has at the most
_MOST = {"models": 200, "cells": 5_000, "figures": 20_000, "notes": 5_000, "failures": 1_000}
#: more rows than there are
_MANY = 10**12
#: clocks differ
_AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class Upload:
    """A run that was brought, and the hash of its document's content: equal however it is written."""

    run: RunResult
    sha256: str


@dataclass(frozen=True)
class Kept:
    """Under which id it is here, and whether it is new."""

    id: str
    is_new: bool
    event: Event | None = None


def read_upload(data: bytes) -> Upload:
    """
    :raises slmeval.errors.DataError: it is no run's document, damaged, or not what a server can keep.
    """
    document = document_in(data, _CALLED)
    try:
        _check_numbers(document)
        run = from_document(document)
        _check_head(run)
        _check_size(run)
        for place, cell in enumerate(run.cells):
            _check_cell(f"{_CALLED}: cells[{place}]", cell)
        # figures must be what the items come to
        baseline_from(document, _CALLED)
        return Upload(run, content_hash(run))
    except RecursionError:
        raise DataError(f"{_CALLED} is nested too deeply to be read") from None


def content_hash(run: RunResult) -> str:
    """SHA-256 of a run's document in one canonical form, in hexadecimal."""
    text = json.dumps(to_document(run), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(store: Store, upload: Upload, submitter: str) -> Kept:
    """Keep the run, if the same content is not here yet.

    :raises slmeval.service.problems.Refused: another run has its id.
    """
    ledger, run = Ledger(store), upload.run
    if (known := ledger.uploaded(upload.sha256)) is not None:
        return Kept(known, is_new=False)
    if find_run(store, run.id) is not None:
        if _is_here(store, upload):
            return Kept(run.id, is_new=False)
        raise Refused(409, f"there is another run {run.id!r} here, with another content: nothing was changed")
    store.finish_run(run, {UPLOADED: submitter})
    ledger.keep_upload(upload.sha256, run.id, submitter)
    return Kept(run.id, True, *ledger.tell([(run.id, "done", {"reason": "uploaded"})]))


def _is_here(store: Store, upload: Upload) -> bool:
    """Whether this store made the run itself: the document went out and came back."""
    found = store.select("SELECT document FROM runs WHERE id = ?", upload.run.id)
    return bool(found and found[0][0]) and content_hash(store.run(upload.run.id)) == upload.sha256


# ---- what a document must be to be kept ------------------------------------------------------------------


def _check_numbers(value: Any) -> None:
    """:raises DataError: a whole number that no program could keep as it is."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)
        elif isinstance(each, int) and abs(each) > _LARGEST:
            raise DataError(f"{_CALLED} has a whole number of more than 64 bits")


def _check_head(run: RunResult) -> None:
    if not re.fullmatch(RUN_ID, run.id, re.ASCII) or run.id == _LAST or run.id.endswith("\n"):
        raise DataError(
            f"{_CALLED}: run.id is {run.id[:80]!r}: 1 to 64 letters, digits, '.', '_' and '-', the first a "
            "letter or a digit"
        )
    started, finished = (_time(name, getattr(run, name)) for name in ("started", "finished"))
    if finished < started:
        raise DataError(f"{_CALLED}: run.finished is before run.started")
    if finished > datetime.now(timezone.utc) + _AHEAD:
        raise DataError(f"{_CALLED}: run.finished lies in the future: {run.finished[:40]}")


def _check_size(run: RunResult) -> None:
    """More than any run has is no run's, and pages would be long in the making."""
    have = {
        "models": len(run.models),
        "cells": len(run.cells),
        "figures": sum(len(cell.figures) for cell in run.cells),
        "notes": sum(len(model.notes) for model in run.models) + sum(len(cell.notes) for cell in run.cells),
        "failures": len(run.failures),
    }
    for name, count in have.items():
        if count > _MOST[name]:
            raise DataError(f"{_CALLED} has {count:,} {name}: a server keeps {_MOST[name]:,} of a run")


def _check_cell(place: str, cell: CellResult) -> None:
    counts = {"shots": cell.shots, "n": cell.n, "repeats": cell.repeats - 1, "data.rows": cell.data.rows}
    for name, count in counts.items():
        if not 0 <= count < _MANY:
            raise DataError(f"{place}.{name} is {count}, which is no number of {name.rpartition('.')[2]}")
    for figure in cell.figures:
        if figure.ci95 is not None and figure.ci95[0] > figure.ci95[1]:
            raise DataError(f"{place}: the interval of {figure.name[:80]!r} ends before it begins")


def _time(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime.min
    if found.utcoffset() != timedelta(0) or found.isoformat()[:19] != text[:19]:
        raise DataError(
            f"{_CALLED}: run.{name} is {text[:40]!r}: a time in UTC, as 2026-01-31T12:00:00+00:00"
        )
    return found
