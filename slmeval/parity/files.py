"""What the models' files show: whether they are one model, and hold the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.errors import ModelError
from slmeval.models import FoundModel
from slmeval.parity import weights
from slmeval.parity.noise import Ceiling, Size, precision_of
from slmeval.parity.report import Basis, Kind
from slmeval.parity.shapes import Settings, compare_settings, size_differences
from slmeval.parity.view import NOTHING, Findings, View
from slmeval.tokenizing import read_json

#: sentences on settings that are told
_SETTINGS = 3


@dataclass(frozen=True)
class Reason:
    """A difference between the sides, and how large a difference of answers it can explain, if not any."""

    kind: Kind
    basis: Basis
    told: str
    ceiling: Ceiling | None = None

    def explains(self, size: Size) -> bool:
        """Whether differences of that size can come from it."""
        return self.ceiling is None or self.ceiling.explains(size)


@dataclass(frozen=True)
class Files:
    """What was seen of both models.

    ``reasons``: differences that may have touched answers. ``same_weights`` is ``None`` where that cannot be
    told. ``unknown`` are settings that differ and whose effect is not known.
    """

    reasons: tuple[Reason, ...] = ()
    same_weights: bool | None = None
    unknown: tuple[str, ...] = ()
    findings: Findings = NOTHING


def look_into(view: View) -> Files:
    """What the files show; weights are read only where an answer differs, or a side gave none at all."""
    first, other = view.first.job.model, view.other.job.model
    if _same_files(first, other):
        same = "model and weights: both sides opened the same files"
        return Files(same_weights=True, findings=Findings(ruled_out=(same,)))
    try:
        settings, seen = compare_settings(first, other), _weights(view)
    except (OSError, ModelError) as error:
        return Files(findings=Findings(untold=(f"the models' files cannot be compared: {error}",)))
    # tensors that were compared tell more than their number
    sizes = _sizes(view) if seen.same_weights is None or seen.reshaped else ()
    model = _model(view, settings, sizes)
    if model and seen.reshaped:
        return Files(model, False, settings.unknown)  # two models: their tensors need not be told one by one
    untold = _unknown(settings)
    return Files((*model, *seen.reasons), seen.same_weights, settings.unknown, seen.findings + untold)


def _same_files(first: FoundModel, other: FoundModel) -> bool:
    """Of a server the address alone is known."""
    return first.sha256 == other.sha256 and "server" not in (first.form, other.form)


# ---- settings ------------------------------------------------------------------------------------------


def _sizes(view: View) -> tuple[str, ...]:
    infos = [side.report.info if side.report else None for side in view.sides]
    return tuple(size_differences(*infos))


def _model(view: View, settings: Settings, sizes: tuple[str, ...]) -> tuple[Reason, ...]:
    told = (*settings.differing, *settings.one_sided, *sizes)
    if not told:
        return ()
    more = f", and {len(told) - _SETTINGS} more" if len(told) > _SETTINGS else ""
    sentence = f"{'; '.join(told[:_SETTINGS])}{more}"
    if settings.differing or sizes or view.one_engine:
        return (Reason("model", "shown", sentence),)
    return (Reason("model", "inferred", f"{sentence}, unless that is what the other engine does unasked"),)


def _unknown(settings: Settings) -> Findings:
    if not settings.unknown:
        return NOTHING
    told = "; ".join(settings.unknown[:_SETTINGS])
    return Findings(untold=(f"model: whether these settings change what is computed: {told}",))


# ---- weights -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """As in :class:`Files`; ``reshaped``: tensors are missing, or of another shape."""

    reasons: tuple[Reason, ...] = ()
    same_weights: bool | None = None
    reshaped: bool = False
    findings: Findings = NOTHING


def _weights(view: View) -> _Seen:
    first, other = view.first.job.model, view.other.job.model
    answered = any(pair.comparable for pair in view.pairs)
    if (
        (answered and not view.differs)
        or first.form != other.form
        or not (_is_plain(first) and _is_plain(other))
    ):
        return _Seen()
    if first.form == "folder" and weights.same_bytes(first.place, other.place, view.file_hash):
        return _Seen(same_weights=True, findings=_ruled_out("the files are the same to the byte"))
    found = weights.compare(first.place, other.place)
    return _Seen() if found is None else _judged(found)


def _is_plain(model: FoundModel) -> bool:
    """Whether its tensors can be read: those of quantized folders are written in other libraries' ways."""
    if model.form != "folder":
        return model.form == "gguf"
    config = read_json(model.place / "config.json")
    return not any(config.get(name) for name in ("quantization", "quantization_config"))


def _judged(found: weights.Comparison) -> _Seen:
    if found.differing:
        told = f"{found.differing:,} of {found.tensors:,} tensors hold other numbers, first {found.first}"
        return _Seen((Reason("weights", "shown", told),), False, found.reshaped)
    if found.unknown:
        return _Seen()
    same = f"all {found.tensors:,} tensors hold the same numbers"
    if not found.rounded:
        return _Seen(same_weights=True, findings=_ruled_out(same))
    told = "the weights are stored as {} and as {}: the same but for rounding".format(*found.rounded)
    types = [named.ceiling(0) for text in found.rounded if (named := precision_of(text))]
    coarser = max(types, key=lambda each: each.share, default=None)
    reason = Reason("dtype", "shown", told, coarser)
    return _Seen((reason,), True, findings=_ruled_out(f"{same}, but for the rounding to another type"))


def _ruled_out(told: str) -> Findings:
    return Findings(ruled_out=(f"weights: {told}",))
