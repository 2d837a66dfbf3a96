"""From series of memory to figures: medians over workers, shares of the whole, and errors of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from slmeval.types import Figure, Series
from slmeval_runtime.amounts import figure_of, none, unfit
from slmeval_runtime.memory_amounts import PARTS

_MEMORY = ("weights", "kv_cache", "state", "compute", "other", "in_use", "before", "peak", "device_peak")
_BESIDE = ("file_pages", "weights_predicted", "kv_per_token", "kv_predicted")
#: without these a share of the whole would be one of something else
_NEEDED = ("weights", "kv_cache", "compute")


def figures_of(series: Mapping[str, Series], labels: Sequence[str]) -> list[Figure]:
    """All figures; ``labels`` stand behind the names of what depends on the context."""
    shown: list[Series] = []
    for label in labels:
        known = {name: series.get(f"{name}{label}") or series.get(name) for name in (*_MEMORY, *_BESIDE)}
        found = {name: each for name, each in known.items() if each is not None}
        shown += [*found.values(), *_errors(found, label), *_shares(found, label)]
    # what is said of the model itself stands there once
    return [_figure(each) for each in {each.name: each for each in shown}.values()]


def _figure(series: Series) -> Figure:
    """Less memory is better; a share or a prediction is neither."""
    better = False if series.unit == "MiB" and series.source != "estimated" else None
    return figure_of(series, higher_is_better=better)


def _errors(found: Mapping[str, Series], label: str) -> Iterator[Series]:
    yield _error("weights_error", found["weights"], found["weights_predicted"])
    yield _error(f"kv_error{label}", found["kv_per_token"], found["kv_predicted"])


def _error(name: str, measured: Series, predicted: Series) -> Series:
    """By how many percent of what was measured the prediction is off."""
    if (why := unfit([measured, predicted])) is not None:
        return none(name, "%", why)
    if measured.source != "measured":
        return none(name, "%", f"{measured.name} is not measured: {measured.note}")
    if not all(measured.values):
        return none(name, "%", f"{measured.name} is 0, of which no part can be off")
    pairs = zip(measured.values, predicted.values, strict=True)
    values = tuple(100 * (by_rule / seen - 1) for seen, by_rule in pairs)
    return Series(name, "%", values, "measured", f"predicted ({predicted.note}) over measured, less 1")


def _shares(found: Mapping[str, Series], label: str) -> Iterator[Series]:
    """Of all parts, and of all but compute; those that not every model has may be missing."""
    there = {part: found[part] for part in PARTS if part in found}
    parts = {part: each for part, each in there.items() if each.values or part in _NEEDED}
    without = {part: each for part, each in parts.items() if part != "compute"}
    for part, series in there.items():
        yield _share(f"{part}_share{label}", series, parts)
        if part != "compute":
            yield _share(f"{part}_net_share{label}", series, without)


def _share(name: str, part: Series, parts: Mapping[str, Series]) -> Series:
    """Percent of the sum of ``parts``, worker by worker."""
    if (why := unfit([part, *parts.values()])) is not None:
        return none(name, "%", why)
    wholes = map(sum, zip(*(each.values for each in parts.values()), strict=True))
    values = tuple(100 * own / whole for own, whole in zip(part.values, wholes, strict=True))
    measured = all(each.source == "measured" for each in parts.values())
    note = "" if "other" in parts else "of the parts that are known, without other"
    return Series(name, "%", values, "measured" if measured else "estimated", note)
