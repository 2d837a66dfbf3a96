"""What cannot run here, and what adds it: said in one way, wherever it is said."""

from __future__ import annotations

from slmeval.api import Backend, Converter
from slmeval.errors import MissingExtra, ModelError

Part = type[Backend] | type[Converter]


def way_to(part: Part) -> str | None:
    """The command that adds what a part needs; ``None`` where no command does."""
    if issubclass(part, Backend) and part.environment():
        return f"slmeval doctor --make {part.name}"
    return f"pip install 'slmeval[{part.extra}]'" if part.extra is not None else None


def check_present(part: Part) -> None:
    """:raises UsageError: what the part needs is not here; the sentence says what adds it."""
    reason = part.missing()
    if reason is None:
        return
    what = f"{'backend' if issubclass(part, Backend) else 'converter'} {part.name!r}"
    trouble, way = f"cannot run here ({reason})", way_to(part)
    if way is None:
        raise ModelError(f"{what} {trouble}")
    if part.extra is not None and way.startswith("pip"):
        raise MissingExtra(what, part.extra, trouble)
    raise ModelError(f"{what} {trouble}: {way}")
