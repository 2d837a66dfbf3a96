"""A comparison as one JSON document of schema ``slmeval.parity/1``: strict JSON, in ASCII."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, cast

from slmeval.document import to_plain
from slmeval.parity.report import Parity

SCHEMA = "slmeval.parity/1"


def to_document(parity: Parity) -> dict[str, Any]:
    """The whole comparison as plain JSON values."""
    return {"schema": SCHEMA, **to_plain(parity)}


def to_json(parity: Parity) -> str:
    """The document as text, with the line end of a file."""
    return json.dumps(to_document(parity), indent=1, allow_nan=False) + "\n"


def parity_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    text = (resources.files("slmeval.schema") / "parity-1.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
