"""Why requests became other token ids: the text, the tokenizer, BOS, or what a context has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from slmeval.parity.definitions import definition_differences
from slmeval.parity.report import Kind
from slmeval.parity.sides import Pair, Put, Side
from slmeval.parity.tokens import first_difference, marks, specials, texts_of
from slmeval.parity.view import NOTHING, Findings, View
from slmeval.parity.written import by_tokenizer
from slmeval.token_tree import common_length
from slmeval.types import TokenIds

#: differences of definitions that are told
_DEFINITIONS = 3

Sentence = Callable[[View, Pair], str]


def by_ids(view: View) -> Findings:
    """Causes that the token ids themselves show; nothing where a server makes them."""
    if view.ids_unknown or not view.pairs:
        return NOTHING
    kinds = [frozenset(_kinds(pair, view.first, view.other)) for pair in view.pairs]
    found = by_tokenizer(view)
    for kind, sentence in _SENTENCES.items():
        touched = [pair for pair, why in zip(view.pairs, kinds, strict=True) if kind in why]
        if touched:
            found += view.cause(kind, "shown", sentence(view, touched[0]), len(touched))
    asked = any(pair.comparable for pair in view.pairs)
    return found if found.causes or not asked else _ruled_out(view)


def _kinds(pair: Pair, first: Side, other: Side) -> Iterator[Kind]:
    if pair.equal_ids:
        return
    if pair.first.request != pair.other.request:
        yield "template"
        return
    ours, theirs = _whole(pair.first), _whole(pair.other)
    leads = _lead(first, ours), _lead(other, theirs)
    if leads[0] != leads[1]:
        yield "bos"
    if ours[len(leads[0]) :] != theirs[len(leads[1]) :]:
        yield "tokenizer"
    if pair.first.cut != pair.other.cut and first.job.model.context != other.job.model.context:
        yield "truncation"


def _whole(put: Put) -> TokenIds:
    """All of a request, before it was cut."""
    return (*put.whole, *put.continuation)


def _lead(side: Side, ids: TokenIds) -> TokenIds:
    """The marks that stand before a text."""
    marked = specials(side.job.tokenizer)
    length = next((place for place, token in enumerate(ids) if token not in marked), len(ids))
    return ids[:length]


def _ruled_out(view: View) -> Findings:
    same = "tokenizer, BOS and truncation: all requests were asked with the same token ids on both sides"
    differences = definition_differences(view.first.job.tokenizer, view.other.job.tokenizer)
    if differences:
        same += f", though the tokenizers' definitions differ ({differences[0]})"
    return Findings(ruled_out=(same,))


# ---- the evidence --------------------------------------------------------------------------------------


def _text_told(view: View, pair: Pair) -> str:  # noqa: ARG001  one signature for all
    one, two = (repr(put.request) for put in (pair.first, pair.other))
    place = common_length(one, two)
    around = " against ".join(f"...{text[max(0, place - 20) : place + 40]}" for text in (one, two))
    return f"{pair.place} is not the same text on both sides: {around}"


def _tokens_told(view: View, pair: Pair) -> str:
    tokenizers = [side.job.tokenizer for side in view.sides]
    # behind the marks: these are told by themselves
    wholes = [(side, _whole(put)) for side, put in zip(view.sides, (pair.first, pair.other), strict=True)]
    ids = [whole[len(_lead(side, whole)) :] for side, whole in wholes]
    texts = [texts_of(tokenizer, each) for tokenizer, each in zip(tokenizers, ids, strict=True)]
    found = first_difference(ids[0], ids[1], texts[0], texts[1])
    told = f"in {pair.place} other token ids are made of the same text"
    if found is not None:
        ours, theirs = slice(*found.first), slice(*found.other)
        piece = "".join(texts[0][ours]) or "".join(texts[1][theirs])
        told = (
            f"in {pair.place} {piece!r} is {_marks(view.first, ids[0][ours])} to {view.first.name}, and "
            f"{_marks(view.other, ids[1][theirs])} to {view.other.name}"
        )
    differences = definition_differences(tokenizers[0], tokenizers[1])[:_DEFINITIONS]
    return f"{told}; of the definitions, {'; '.join(differences)}" if differences else told


def _lead_told(view: View, pair: Pair) -> str:
    ours, theirs = _lead(view.first, _whole(pair.first)), _lead(view.other, _whole(pair.other))
    word = "another mark"
    if not ours or not theirs:
        word = "missing on one side"
    elif set(ours) == set(theirs):
        word = "doubled on one side"
    return (
        f"{pair.place} begins with {_marks(view.first, ours)} for {view.first.name}, with "
        f"{_marks(view.other, theirs)} for {view.other.name}: BOS is {word}"
    )


def _cut_told(view: View, pair: Pair) -> str:
    both = zip(view.sides, (pair.first, pair.other), strict=True)
    return f"in {pair.place} {' and '.join(_cut_of(side, put) for side, put in both)}"


def _cut_of(side: Side, put: Put) -> str:
    asked = "with all of it"
    if len(put.asks) > 1:
        asked = f"in {len(put.asks):,} windows"
    elif put.cut:
        asked = f"without the first {put.cut:,} of {len(put.whole):,} tokens"
    return f"{side.name} has a context of {side.job.model.context:,} and was asked {asked}"


def _marks(side: Side, ids: TokenIds) -> str:
    return marks(side.job.tokenizer, ids)


_SENTENCES: Mapping[Kind, Sentence] = {
    "template": _text_told,
    "tokenizer": _tokens_told,
    "bos": _lead_told,
    "truncation": _cut_told,
}
