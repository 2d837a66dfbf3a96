"""What the contract asks of a model.

Each clause has cases of its own, so that what is wrong in one circumstance fails the clause about that
circumstance: contexts that share a beginning are in ``family`` alone, characters beyond ASCII in
``unicode`` alone, continuations of more than twelve tokens in ``long`` alone, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slmeval.prefixes import in_prefix_order
from slmeval.testing import toy
from slmeval.tokenizing import Encoder, FastTokenizer
from slmeval.types import Score, ScoreGroup, TokenIds

Pair = tuple[TokenIds, TokenIds]


@dataclass(frozen=True)
class Cases:
    """What is asked of one model, as token ids.

    ``long``: contexts with long continuations. ``apart``: groups, in prefix order, that share nothing but
    their first tokens, with no hints. ``family``: groups that share more and more, with hints.
    ``unicode`` and ``merged``: contexts with continuations. ``prompts``: of many lengths, to write after.
    """

    long: tuple[Pair, ...]
    apart: tuple[ScoreGroup, ...]
    family: tuple[ScoreGroup, ...]
    unicode: tuple[Pair, ...]
    merged: tuple[Pair, ...]
    prompts: tuple[TokenIds, ...]


def cases_of(model: str, tokenizer: FastTokenizer) -> Cases:
    """The cases of "toy" or "demo"."""
    encoder = Encoder(tokenizer)
    return _toy_cases(encoder) if model == "toy" else _demo_cases(encoder)


def _pairs(encoder: Encoder, texts: Sequence[tuple[str, str]], merged: bool = False) -> tuple[Pair, ...]:
    splits = encoder.splits([Score(*pair) for pair in texts])
    # a continuation of no tokens is never asked
    return tuple((each.context, each.continuation) for each in splits if each.merged == merged)


def _sorted(groups: Sequence[ScoreGroup]) -> tuple[ScoreGroup, ...]:
    return tuple(sorted(groups, key=lambda group: group.context))


# ---- the toy model -----------------------------------------------------------------------------------

#: every byte, and every byte that cannot stand alone
_BYTES = tuple(toy.byte(value) for value in range(256))
_HIGH = _BYTES[128:]


def _after(count: int, seed: int) -> TokenIds:
    return toy.text_ids(count + 1, seed)[1:]


def _toy_cases(encoder: Encoder) -> Cases:
    apart = [
        ScoreGroup(toy.text_ids(length, length), tuple(_after(more, length + more) for more in (2, 7, 4)))
        for length in (5, 13, 28, 45, 90, 150)
    ]
    start = toy.text_ids(37, 1)
    tails = ((), _after(1, 2), _after(6, 3), (*_after(6, 3), *_after(9, 4)), _after(70, 5))
    family = [ScoreGroup(start + tail, (_after(3, 6), _after(5, 7))) for tail in tails]
    return Cases(
        long=tuple((toy.text_ids(length, length), _after(17, length)) for length in (6, 21, 75, 190)),
        apart=_sorted(apart),
        family=in_prefix_order(family),
        unicode=(
            *_pairs(encoder, [("an é ", "ünïcödé"), ("日本", "語です")]),
            ((toy.BOS, *_BYTES[:200]), _HIGH[-5:]),
            (toy.text_ids(20, 8, _HIGH), toy.text_ids(9, 9, _HIGH)[1:]),
        ),
        merged=_pairs(encoder, [("gi", "nkgo"), ("me t", "hat rat"), ("le pa", "nda is")], merged=True),
        prompts=tuple(toy.text_ids(5 + (seed * 7) % 60, seed) for seed in range(60)),
    )


# ---- the demo model ----------------------------------------------------------------------------------

_STORY = (
    "Dip the apron in the water. Rub the apron with soap. Rinse the soap off the apron. "
    "Leave it in the yard. A man hands the picture to the clerk. "
    "The clerk lifts the picture into the boat, and sings. "
) * 6
_LONG = (
    (
        "Question: How can I clean the millstone?\nAnswer:",
        " Go over the millstone slowly with the dry brush.",
    ),
    (
        "A man hands the picture to the clerk. He wants to",
        " pay for the picture at the desk, then he walks home.",
    ),
    # long enough that a wrong position would be seen
    (_STORY, "He wants to pay for the picture at the desk, then he walks home."),
    ("long far den", "\nRinse the soap off the apron, and brush the back of it in the yard."),
)
_APART = (
    ("Dip the apron in the water.", (" Rub the apron with soap.", " Brush it.", " Walk home")),
    ("Question: mark an old sail\nAnswer:", (" Take the paper flag", " Take the chalk", " Leave it")),
    ("A man hands the picture to the clerk", (" of the town", ". He wants", " and sings")),
    ("hot far pin\nlong far den\nhot sad dog\n", ("long", "hot far", "sad pin sad")),
)
_START = "Store an old tile. Leave the tile in the dry shed for the winter, and brush the back of the tile"
_TAILS = ("", ".", ". Then", ". Then go over the tile slowly", " with soap. Walk home")
_UNICODE = (
    ("Das Mädchen aß", " Öl für 5 €"),
    ("日本語の", "テキスト"),
    ("smile 🙂", " 👩‍👧 again"),
    ("naïve", " café"),
)
#: of the ids of the last two, decoded, the tokenizer makes others
_MERGED = (
    ("Leave the ti", "le in the shed"),
    ("Take the ta", "ilor's chalk"),
    ("Take the tailo", "r's chalk and sign"),
)
_PROMPTS = (
    "Question: How can I clean the millstone?\nAnswer:",
    "A man hands the picture to the clerk. He wants to",
    "Dip the apron in the water.",
    "Question: mark an old chain\nAnswer:",
    "Leave the tile in the dry",
    "The",
    "Question: 3 + 4 =",
    "Rinse the soap off the",
)


def _demo_cases(encoder: Encoder) -> Cases:
    return Cases(
        long=_pairs(encoder, _LONG),
        apart=_sorted([_group(encoder, *each) for each in _APART]),
        family=in_prefix_order(
            _group(encoder, _START + tail, (" in the yard", " for him")) for tail in _TAILS
        ),
        unicode=_pairs(encoder, _UNICODE),
        merged=_pairs(encoder, _MERGED, merged=True),
        prompts=tuple(encoder.texts(_PROMPTS).values()),
    )


def _group(encoder: Encoder, context: str, continuations: Sequence[str]) -> ScoreGroup:
    splits = encoder.splits([Score(context, each) for each in continuations])
    return ScoreGroup(splits[0].context, tuple(each.continuation for each in splits))


def requests(count: int) -> Iterator[ScoreGroup]:
    """``count`` short groups for the toy model, none of them twice."""
    for seed in range(count):
        yield ScoreGroup(toy.text_ids(3 + seed % 10, 5000 + seed), (_after(2, 9000 + seed),))
