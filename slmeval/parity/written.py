"""Generated texts that part without a difference of numbers: what a tokenizer or an engine makes of tokens.

A text is written greedily: each of its tokens is the likeliest by the scores of the very side that wrote it.
Where that is so on both sides, the numbers part the texts, and their causes are those of the numbers.
"""

from __future__ import annotations

from slmeval.parity.control import Fork
from slmeval.parity.noise import Precision
from slmeval.parity.report import Basis
from slmeval.parity.sides import Pair, Side
from slmeval.parity.tokens import marks
from slmeval.parity.view import NOTHING, Findings, View, together
from slmeval.plan import GenerateAsk
from slmeval.token_tree import common_length
from slmeval.types import TokenIds

#: the coarsest type in which engines compute, however few the bits in which they store
_COMPUTED = Precision("8-bit", 8)
#: characters of a text that are shown
_SHOWN = 40


def by_tokenizer(view: View) -> Findings:
    """Tokens that are the same, and become other texts, or end a text on one side alone."""
    ended = [pair for pair in view.parted if pair.ends]
    decoded = [pair for pair in ended if _decodes_otherwise(view, pair)]
    cut = [pair for pair in ended if pair not in decoded and _ends_otherwise(pair)]
    found = NOTHING
    if decoded:
        told = f"in {decoded[0].place} the same token ids decode to {_texts(decoded[0])}"
        found += view.cause("tokenizer", "shown", told, len(decoded))
    if cut:
        ids = zip(view.sides, _end_ids(cut[0]), strict=True)
        ends = [f"at {marks(side.job.tokenizer, each)} for {side.name}" for side, each in ids]
        found += view.cause("tokenizer", "shown", f"a text ends {', '.join(ends)}", len(cut))
    return found


def by_engine(view: View) -> Findings:
    """What an engine does to a text otherwise than its tokens and its own numbers say."""
    if view.ids_unknown:
        return NOTHING
    ours = [(fork, *fork.first) for fork in view.control.forks]
    theirs = [(fork, *fork.other) for fork in view.control.forks]
    return together(
        _cut_or_changed(view),
        _unlikely(view, view.first, ours),
        _unlikely(view, view.other, theirs),
        _unseen(view),
    )


def _cut_or_changed(view: View) -> Findings:
    ended = [pair for pair in view.parted if pair.ends]
    wrong = [pair for pair in ended if not _decodes_otherwise(view, pair) and not _ends_otherwise(pair)]
    if not wrong:
        return NOTHING
    assert wrong[0].completions is not None
    lengths = [len(each.ids) for each in wrong[0].completions]
    told = f"in {wrong[0].place} the same tokens became {_texts(wrong[0])}"
    if lengths[0] != lengths[1]:
        both = [f"{length:,} tokens of {side.name}" for side, length in zip(view.sides, lengths, strict=True)]
        told = f"in {wrong[0].place} a text has {' and '.join(both)}, the same as far as both go"
    return _blamed(view, told, len(wrong), "shown")


def _unlikely(view: View, side: Side, forks: list[tuple[Fork, float, float]]) -> Findings:
    """A side whose own scores say that it would have written what the other did."""
    numbers = side.arithmetic.numbers
    if numbers is None:
        return NOTHING
    computed = numbers if numbers.bits is None else _COMPUTED
    wrong = [
        each
        for each in forks
        if each[2] - each[1] > computed.ceiling(each[0].position).single * max(1.0, -each[2])
    ]
    if not wrong:
        return NOTHING
    fork, own, rival = wrong[0]
    told = (
        f"in {fork.place}, where the texts part, {side.name} wrote a token that has {own:.4g} nats by its "
        f"own scores, where the other side's has {rival:.4g}"
    )
    return _blamed(view, told, len(wrong), "inferred")


def _blamed(view: View, told: str, requests: int, basis: Basis) -> Findings:
    if view.one_program:
        return Findings(untold=(f"why one engine did not write both texts alike: {told}",))
    return view.cause("engine", basis, told, requests)


def _unseen(view: View) -> Findings:
    """Texts that nobody has followed: there are too many, or they do not fit."""
    followed = {gap.place for gap in view.control.gaps}
    left = [pair for pair in view.parted if pair.equal_ids and not pair.ends and pair.place not in followed]
    if not left or not view.gaps:
        return NOTHING
    return Findings(untold=(f"what parts {len(left):,} of the texts: they were not followed on both sides",))


# ---- one pair ------------------------------------------------------------------------------------------


def _decodes_otherwise(view: View, pair: Pair) -> bool:
    ours, theirs = (side.job.tokenizer for side in view.sides)
    if ours.sha256 == theirs.sha256 or pair.completions is None:
        return False
    ids = pair.completions[0].ids[: pair.common]
    return ours.decode(ids) != theirs.decode(ids)


def _ends_otherwise(pair: Pair) -> bool:
    ours, theirs = _end_ids(pair)
    return ours != theirs


def _end_ids(pair: Pair) -> tuple[TokenIds, TokenIds]:
    asks = pair.first.asks[0], pair.other.asks[0]
    ours, theirs = (ask.settings.end_ids if isinstance(ask, GenerateAsk) else () for ask in asks)
    return ours, theirs


def _texts(pair: Pair) -> str:
    """Both around where they part."""
    assert pair.completions is not None
    one, two = (each.text for each in pair.completions)
    place = common_length(one, two)
    begin = max(0, place - _SHOWN // 2)
    return " and to ".join(repr(text[begin : begin + _SHOWN]) for text in (one, two))
