"""What explains the differences that are left where both sides were asked the very same token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slmeval.parity.differences import Gap
from slmeval.parity.files import Files
from slmeval.parity.noise import FUSED, Arithmetic, Ceiling, Precision, Size, arithmetic_of, exact
from slmeval.parity.report import Kind
from slmeval.parity.sides import Side
from slmeval.parity.view import NOTHING, Findings, View, together


@dataclass(frozen=True)
class _Declared:
    """A difference in arithmetic that the sides declare, and what it can explain."""

    kind: Kind
    told: str
    ceiling: Ceiling


def by_numbers(view: View, files: Files, *, alone: bool) -> Findings:
    """What the sizes of the differences tell, held against what each engine declares.

    ``alone``: nothing but this can explain a difference; mere rounding is then the cause.
    """
    trouble = Findings(untold=(view.control.trouble,)) if view.control.trouble else NOTHING
    size = _size(view.gaps)
    if size is None:
        return together(trouble, _model(view, files), _no_numbers(view))
    if exact(size.position).explains(size):
        return together(trouble, _exact(view, files, size, alone))
    model = _model(view, files)
    return together(trouble, model, _weighed(view, files, size, sorted((files.findings + model).kinds)))


def _size(found: Sequence[Gap]) -> Size | None:
    tokens = [both for gap in found if gap.same for both in gap.tokens]
    if not tokens:
        return None
    apart = [abs(ours - theirs) for ours, theirs in tokens]
    return Size(
        tokens=len(tokens),
        mean=sum(apart) / len(apart),
        largest=max(apart),
        # where all are certain there is nothing to take a share of
        share=sum(apart) / max(sum(abs(ours) for ours, _ in tokens), 1.0),
        single=max(each / max(1.0, abs(ours)) for each, (ours, _) in zip(apart, tokens, strict=True)),
        position=max(gap.position for gap in found),
    )


def _model(view: View, files: Files) -> Findings:
    if not files.shapes:
        return NOTHING
    more = f", and {len(files.shapes) - 3} more" if len(files.shapes) > 3 else ""
    return view.cause("model", "shown", f"{'; '.join(files.shapes[:3])}{more}", len(view.pairs))


def _no_numbers(view: View) -> Findings:
    told = "numerics (dtype, cache, attention): there are no log-probabilities of the same token ids"
    return Findings(untold=(told,)) if view.differs else NOTHING


def _exact(view: View, files: Files, size: Size, alone: bool) -> Findings:
    """No more than float32 rounds: whatever differs in the models, or is declared, has no effect."""
    found = NOTHING
    if files.shapes:
        found += Findings(ruled_out=(f"model: {files.shapes[0]}, without effect on any number here",))
    told = _within(size, "float32", exact(size.position))
    if size.largest > 0 and alone and not files.findings.kinds:
        return found + view.cause("rounding", "inferred", told, view.touched)
    return found + Findings(ruled_out=(f"numerics (dtype, cache, attention): {told}",))


def _weighed(view: View, files: Files, size: Size, shown: Sequence[Kind]) -> Findings:
    """More than float32 rounds; ``shown`` are causes that the files show."""
    ours, theirs = (_arithmetic(side) for side in view.sides)
    declared = tuple(_declared(ours, theirs, size.position))
    if files.rounded and files.rounded.ceiling(size.position).explains(size):
        return NOTHING  # the types in which the weights are stored do, and are named already
    if "weights" in shown or "model" in shown:
        beside = " and ".join(shown)
        told = (f"{each.kind}: {each.told}; its part cannot be told beside {beside}" for each in declared)
        return Findings(untold=tuple(told))
    able = [each for each in declared if each.ceiling.explains(size)]
    if not able:
        return _unexplained(view, files, size, declared)
    small = (
        f"{each.kind}: {each.told}, too small a difference to explain this ({_ceiling_told(each.ceiling)})"
        for each in declared
        if each not in able
    )
    causes = [view.cause(each.kind, "inferred", _able_told(each, able, size), view.touched) for each in able]
    return together(*causes, Findings(ruled_out=tuple(small)))


def _able_told(each: _Declared, able: Sequence[_Declared], size: Size) -> str:
    told = f"{each.told}: {_within(size, 'the coarser', each.ceiling)}"
    others = [other.kind for other in able if other is not each]
    return f"{told}; it cannot be told apart from {' and '.join(others)}" if others else told


def _unexplained(view: View, files: Files, size: Size, declared: Sequence[_Declared]) -> Findings:
    """No declared difference explains it: rounding of a type that both share, weights, or an engine."""
    arithmetic = [_arithmetic(side) for side in view.sides]
    unknown = next(
        (side for side, each in zip(view.sides, arithmetic, strict=True) if each.numbers is None), None
    )
    if unknown is not None:
        told = (
            f"the arithmetic of {unknown.name} is not known: {_size_told(size)} may be it, or other weights"
        )
        return Findings(untold=(told,))
    shared = max(
        (each.numbers.ceiling(size.position) for each in arithmetic if each.numbers),
        key=lambda each: each.share,
    )
    told = " and ".join(dict.fromkeys(each.told for each in arithmetic))
    if not declared and shared.explains(size):
        return view.cause("rounding", "inferred", _within(size, told, shared), view.touched)
    ceiling = max((shared, *(each.ceiling for each in declared)), key=lambda each: each.share)
    beyond = (
        f"with the same token ids {_size_told(size)}, more than the declared arithmetic explains ({told}: "
        f"{_ceiling_told(ceiling)})"
    )
    if files.same_weights:
        told = f"{beyond}; the weights are the same, so that one of the engines computes something else"
        return view.cause("engine", "inferred", told, view.touched)
    told = f"{beyond}; the tensors could not be compared: it may be an engine that computes something else"
    return view.cause("weights", "inferred", told, view.touched)


# ---- what is declared --------------------------------------------------------------------------------


def _arithmetic(side: Side) -> Arithmetic:
    info = side.report.info if side.report else None
    return arithmetic_of(info.dtype if info else "unknown", side.report.options if side.report else {})


def _declared(ours: Arithmetic, theirs: Arithmetic, position: int) -> Iterator[_Declared]:
    """What the sides declare otherwise; float32 and what is finer count as the same."""
    if numbers := _coarser(ours.numbers, theirs.numbers, position):
        yield _Declared("dtype", f"{ours.told} against {theirs.told}", numbers)
    # a cache that follows the type of the arithmetic is no difference of its own
    caches = (ours.effective_cache, theirs.effective_cache) if ours.cache or theirs.cache else (None, None)
    if cache := _coarser(*caches, position):
        names = " against ".join(each.name for each in caches if each)
        yield _Declared("kv_cache", f"keys and values are kept as {names}", cache)
    if ours.flash != theirs.flash:
        kinds = " against ".join("fused (flash)" if each.flash else "not fused" for each in (ours, theirs))
        yield _Declared("attention", f"attention is {kinds}", FUSED)


def _coarser(ours: Precision | None, theirs: Precision | None, position: int) -> Ceiling | None:
    """What the coarser of two types explains; ``None`` where they are the same, or one is not known."""
    if ours is None or theirs is None or ours == theirs or (ours.is_exact and theirs.is_exact):
        return None
    return max(ours.ceiling(position), theirs.ceiling(position), key=lambda each: each.share)


# ---- in words ------------------------------------------------------------------------------------------


def _size_told(size: Size) -> str:
    if size.largest == 0:
        return f"{size.tokens:,} tokens have the same log-probabilities"
    return (
        f"{size.tokens:,} tokens differ by {size.mean:.2g} nats in the mean and {size.largest:.2g} at most "
        f"({size.share:.2g} of all log-probabilities, {size.single:.2g} of one)"
    )


def _ceiling_told(ceiling: Ceiling) -> str:
    return f"up to {ceiling.share:.2g} of all log-probabilities, {ceiling.single:.2g} of one"


def _within(size: Size, what: str, ceiling: Ceiling) -> str:
    told = f"with the same token ids {_size_told(size)}"
    return told if size.largest == 0 else f"{told}; rounding in {what} explains {_ceiling_told(ceiling)}"
