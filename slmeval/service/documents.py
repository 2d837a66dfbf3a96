"""The schemas of slmeval's own documents, as an OpenAPI description can hold them."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from starlette.responses import JSONResponse

_HERE = "#/$defs/"


@cache
def schema_of(document: str) -> dict[str, Any]:
    """The JSON Schema of "run", "comparison", "gate" or "baseline", with its parts where they are named."""
    text = (resources.files("slmeval.schema") / f"{document}-1.json").read_text(encoding="utf-8")
    whole = json.loads(text)
    parts = whole.pop("$defs", {})
    made: dict[str, Any] = _resolved(
        {key: whole[key] for key in whole if key not in ("$schema", "$id")}, parts
    )
    return made


def _resolved(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolved(each, parts) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _resolved(value, parts) for key, value in schema.items() if key != "$ref"}
    if "$ref" in schema:
        made = {**_resolved(parts[schema["$ref"].removeprefix(_HERE)], parts), **made}
    return made


def described(document: str, description: str) -> dict[str, Any]:
    """For ``responses=``: an answer that is such a document."""
    return {"description": description, "content": {"application/json": {"schema": schema_of(document)}}}


class JsonText(JSONResponse):
    """JSON that is text already, in ASCII: it passes unharmed, whatever is in it."""

    def render(self, content: str) -> bytes:
        """As it is."""
        return content.encode("ascii")
