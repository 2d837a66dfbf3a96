"""What explains the differences that are left where both sides were asked the very same token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from slmeval.parity.differences import Gap
from slmeval.parity.files import Files, Reason
from slmeval.parity.noise import FUSED, Arithmetic, Ceiling, Precision, Size, exact
from slmeval.parity.view import NOTHING, Findings, View, together


def by_numbers(view: View, files: Files, *, alone: bool) -> Findings:
    """What the sizes of the differences tell, held against what the files show and each engine declares.

    ``alone``: nothing but this can explain a difference; mere rounding is then the cause.
    """
    trouble = Findings(untold=(view.control.trouble,)) if view.control.trouble else NOTHING
    size = _size(view.gaps)
    if size is None:
        found = _no_numbers(view, files)
    elif size.largest == 0:
        found = _untouched(view, files, size, "without effect on any number here")
    elif reasons := _of_one_engine(view, files, size):
        found = _touching(view, reasons)
    elif exact(size.position).explains(size):
        found = _exact(view, files, size, alone)
    else:
        found = _weighed(view, files, size)
    return together(trouble, found)


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


def _touching(view: View, reasons: Iterable[Reason]) -> Findings:
    return together(*(view.cause(each.kind, each.basis, each.told, view.touched) for each in reasons))


def _no_numbers(view: View, files: Files) -> Findings:
    """Nothing was scored with the same token ids: what was touched can be told only where nothing differs."""
    requests = None if view.differs or not any(pair.comparable for pair in view.pairs) else 0
    causes = (view.cause(each.kind, each.basis, each.told, requests) for each in files.reasons)
    told = "numerics (dtype, cache, attention): there are no log-probabilities of the same token ids"
    return together(*causes, Findings(untold=(told,)) if view.differs else NOTHING)


def _untouched(view: View, files: Files, size: Size, effect: str) -> Findings:
    """Differences of the models that move no number, or none by more than rounding."""
    requests = 0 if view.all_seen else None
    causes = (view.cause(each.kind, each.basis, f"{each.told}; {effect}", requests) for each in files.reasons)
    told = f"numerics (dtype, cache, attention): {_within(size, 'float32', exact(size.position))}"
    return together(*causes, Findings(ruled_out=(told,)))


def _exact(view: View, files: Files, size: Size, alone: bool) -> Findings:
    """No more than float32 rounds: whatever differs in the models, or is declared, cannot be told from it."""
    effect = "with no more effect on any number here than float32 rounds"
    found = _untouched(view, files, size, effect)
    if not alone:
        return found
    told = _within(size, "float32", exact(size.position))
    return Findings(found.causes) + view.cause("rounding", "inferred", told, view.touched)


def _of_one_engine(view: View, files: Files, size: Size) -> tuple[Reason, ...]:
    """One engine that is asked the same in one way answers the same, but for what the models make of it."""
    if not view.one_engine:
        return ()
    if files.reasons and all(each.explains(size) for each in files.reasons):
        return files.reasons
    if files.reasons or len(view.same_ids) < len(view.pairs):
        return ()  # other ids are asked in other batches, which round otherwise
    told = "one engine, asked the same token ids in one way, gave other answers"
    if files.same_weights is None:
        return (Reason("weights", "inferred", f"{told}; the tensors could not be compared"),)
    if files.unknown:
        return (Reason("model", "inferred", f"{told} of the same weights; {'; '.join(files.unknown[:3])}"),)
    return ()


def _weighed(view: View, files: Files, size: Size) -> Findings:
    """More than float32 rounds."""
    declared = tuple(_declared(view.first.arithmetic, view.other.arithmetic, size.position))
    shown = [each for each in files.reasons if each.explains(size)]
    others = [each for each in declared if each.kind not in {reason.kind for reason in shown}]
    able = [each for each in others if each.explains(size)]
    if not shown and not able:
        return _unexplained(view, files, size, declared)
    # what the files show beside what explains all by itself may have touched nothing
    touched = {True: None if able else view.touched, False: view.touched}
    beside = (*shown, *able)
    causes = (
        view.cause(each.kind, each.basis, _able_told(each, beside, size), touched[each in shown])
        for each in beside
    )
    parts = (_part_told(each, bool(shown)) for each in others if each not in able)
    return together(*causes, Findings(untold=tuple(parts)))


def _able_told(each: Reason, able: Sequence[Reason], size: Size) -> str:
    told = each.told
    if each.basis == "inferred" and each.ceiling is not None:
        told = f"{told}: {_within(size, 'the coarser', each.ceiling)}"
    others = [other.kind for other in able if other is not each]
    return f"{told}; its part cannot be told from that of {' and '.join(others)}" if others else told


def _part_told(each: Reason, shown: bool) -> str:
    """Of what is declared and does not explain all, or stands beside what the files show."""
    assert each.ceiling is not None
    most = "" if shown else f", no more than {_ceiling_told(each.ceiling)}"
    return f"{each.kind}: {each.told}; how much of this comes of it{most}"


def _unexplained(view: View, files: Files, size: Size, declared: Sequence[Reason]) -> Findings:
    """No declared difference explains it: rounding of a type that both share, weights, or an engine."""
    unknown = next((side for side in view.sides if side.arithmetic.numbers is None), None)
    if unknown is not None:
        told = (
            f"the arithmetic of {unknown.name} is not known: {_size_told(size)} may be it, or other weights"
        )
        return Findings(untold=(told,))
    arithmetic = [side.arithmetic for side in view.sides]
    shared = max(
        (each.numbers.ceiling(size.position) for each in arithmetic if each.numbers),
        key=lambda each: each.share,
    )
    told = " and ".join(dict.fromkeys(each.told for each in arithmetic))
    if not declared and shared.explains(size) and (files.same_weights or not view.one_engine):
        return view.cause("rounding", "inferred", _within(size, told, shared), view.touched)
    ceilings = [each.ceiling for each in declared if each.ceiling]
    ceiling = max((shared, *ceilings), key=lambda each: each.share)
    beyond = (
        f"with the same token ids {_size_told(size)}, more than the declared arithmetic explains ({told}: "
        f"up to {_ceiling_told(ceiling)})"
    )
    return _beyond(view, files, beyond)


def _beyond(view: View, files: Files, told: str) -> Findings:
    if not files.same_weights:
        engine = "" if view.one_program else ": it may be an engine that computes something else"
        told = f"{told}; the tensors could not be compared{engine}"
        return view.cause("weights", "inferred", told, view.touched)
    if view.one_program:
        return Findings(untold=(f"{told}; the weights are the same, and so is the engine",))
    told = f"{told}; the weights are the same, so that one of the engines computes something else"
    return view.cause("engine", "inferred", told, view.touched)


# ---- what is declared --------------------------------------------------------------------------------


def _declared(ours: Arithmetic, theirs: Arithmetic, position: int) -> Iterator[Reason]:
    """What the sides declare otherwise; float32 and what is finer count as the same."""
    if numbers := _coarser(ours.numbers, theirs.numbers, position):
        yield Reason("dtype", "inferred", f"{ours.told} against {theirs.told}", numbers)
    # a cache that follows the type of the arithmetic is no difference of its own
    caches = (ours.effective_cache, theirs.effective_cache) if ours.cache or theirs.cache else (None, None)
    if cache := _coarser(*caches, position):
        names = " against ".join(each.name for each in caches if each)
        yield Reason("kv_cache", "inferred", f"keys and values are kept as {names}", cache)
    if ours.flash != theirs.flash:
        kinds = " against ".join("fused (flash)" if each.flash else "not fused" for each in (ours, theirs))
        yield Reason("attention", "inferred", f"attention is {kinds}", FUSED)


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
    return f"{ceiling.share:.2g} of all log-probabilities, {ceiling.single:.2g} of one"


def _within(size: Size, what: str, ceiling: Ceiling) -> str:
    told = f"with the same token ids {_size_told(size)}"
    return (
        told if size.largest == 0 else f"{told}; rounding in {what} explains up to {_ceiling_told(ceiling)}"
    )
