"""What differs between two ``tokenizer.json``, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from slmeval.token_tree import common_length
from slmeval.tokenizing import FastTokenizer

#: characters of a part of a definition that are shown
_SHOWN = 80
#: the parts that are told as they stand
_PARTS = {
    "normalizer": "the normalizer",
    "pre_tokenizer": "the pre-tokenizer",
    "post_processor": "the post-processor (what is put around a text)",
    "decoder": "the decoder (which makes text of tokens)",
}


def definition_differences(first: FastTokenizer, other: FastTokenizer) -> tuple[str, ...]:
    """Sentences on the first difference in each part: first the first's, then the other's.

    None are made where one is not the definition as its model has it, but was made of a GGUF file's lists:
    merges are then listed otherwise, without any text becoming other tokens.
    """
    if first.sha256 == other.sha256 or not (_as_written(first) and _as_written(other)):
        return ()
    ours, theirs = json.loads(first.definition), json.loads(other.definition)
    return (*_plain_parts(ours, theirs), *_added(ours, theirs), *_of_model(ours, theirs))


def _as_written(tokenizer: FastTokenizer) -> bool:
    return "GGUF file" not in tokenizer.origin or "tokenizer.json" in tokenizer.origin


def _plain_parts(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for name, words in _PARTS.items():
        if ours.get(name) != theirs.get(name):
            yield f"{words} differs: {_told(ours.get(name), theirs.get(name))}"


def _told(ours: Any, theirs: Any) -> str:
    """Both from shortly before they part."""
    one, two = json.dumps(ours, ensure_ascii=False), json.dumps(theirs, ensure_ascii=False)
    place = common_length(one, two)
    begin = max(0, place - _SHOWN // 2)
    return " against ".join(_excerpt(text, begin) for text in (one, two))


def _excerpt(text: str, begin: int) -> str:
    end = begin + _SHOWN
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"


def _added(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    one, two = (
        {entry.get("content"): entry for entry in whole.get("added_tokens") or ()} for whole in (ours, theirs)
    )
    changed = [text for text in {**one, **two} if one.get(text) != two.get(text)]
    if changed:
        yield f"{len(changed)} added tokens differ, {changed[0]!r} first"


def _of_model(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    one, two = ours.get("model") or {}, theirs.get("model") or {}
    if one.get("type") != two.get("type"):
        yield f"the kind is {one.get('type')} against {two.get('type')}"
        return
    yield from _vocabulary(one.get("vocab"), two.get("vocab"))
    yield from _merges(one.get("merges"), two.get("merges"))
    rest = [
        name for name in {**one, **two} if name not in ("vocab", "merges") and one.get(name) != two.get(name)
    ]
    for name in rest:
        yield f"{name} is {one.get(name)!r} against {two.get(name)!r}"


def _vocabulary(ours: Any, theirs: Any) -> Iterator[str]:
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        if ours != theirs:
            yield "the scores of the vocabulary differ"
        return
    changed = [token for token in {**ours, **theirs} if ours.get(token) != theirs.get(token)]
    if changed:
        ids = [str(known.get(changed[0], "missing")) for known in (ours, theirs)]
        told = " against ".join(ids)
        yield f"{len(changed):,} tokens of the vocabulary differ, first {changed[0]!r}: {told}"


def _merges(ours: Any, theirs: Any) -> Iterator[str]:
    one, two = (_pairs(merges) for merges in (ours, theirs))
    if one == two:
        return
    shortest = min(len(one), len(two))
    place = next((at for at in range(shortest) if one[at] != two[at]), shortest)
    told = [repr(" ".join(merges[place])) if place < len(merges) else "missing" for merges in (one, two)]
    changed = len(set(one) ^ set(two))
    more = (
        f"merges that stand in one of them alone: {changed:,}"
        if changed
        else f"merges in another place: {sum(a != b for a, b in zip(one, two, strict=True)):,}"
    )
    yield f"merge {place + 1:,} is {told[0]} against {told[1]}; {more}"


def _pairs(merges: Any) -> list[tuple[str, ...]]:
    """As pairs, whether they are written so or as texts with a space."""
    return [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges or ()]
