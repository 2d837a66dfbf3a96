"""How far two sides are apart: log-probabilities, predictions, texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slmeval.parity.report import Flip, Flips, Parting, Spread, Texts
from slmeval.parity.sides import Pair
from slmeval.token_tree import common_length
from slmeval.types import Completion, Likelihood, Reply

#: flips that are told one by one
_SHOWN = 10
#: characters of a text that are shown where it parts from the other
_EXCERPT = 160


@dataclass(frozen=True)
class Gap:
    """Two answers to one request; ``same``: both are of the same continuation, token by token."""

    place: str
    first: Likelihood
    other: Likelihood
    same: bool
    #: the place of the last token, counted from the beginning of what was asked
    position: int

    @property
    def difference(self) -> float:
        """Of the sums, absolute, in nats."""
        return abs(self.first.logprob - self.other.logprob)

    @property
    def by_token(self) -> tuple[float, ...]:
        """Absolute, in nats; empty where the tokens are not the same."""
        return tuple(abs(ours - theirs) for ours, theirs in self.tokens) if self.same else ()

    @property
    def tokens(self) -> tuple[tuple[float, float], ...]:
        """Both log-probabilities of each token."""
        return tuple(zip(self.first.token_logprobs, self.other.token_logprobs, strict=False))


def gaps(pairs: Iterable[Pair]) -> list[Gap]:
    """One for each request that both sides scored."""
    found = []
    for pair in pairs:
        if both := pair.likelihoods:
            same = pair.first.continuation == pair.other.continuation
            position = len(pair.first.context) + len(pair.first.continuation)
            found.append(Gap(pair.place, *both, same, position))
    return found


def spread(found: Sequence[Gap]) -> Spread | None:
    """The differences in few numbers; ``None`` where there are none to tell of."""
    if not found:
        return None
    sums = [gap.difference for gap in found]
    tokens = [size for gap in found for size in gap.by_token]
    return Spread(
        n=len(found),
        largest=max(sums),
        mean=sum(sums) / len(sums),
        worst=found[sums.index(max(sums))].place,
        tokens=len(tokens),
        token_largest=max(tokens, default=None),
        token_mean=sum(tokens) / len(tokens) if tokens else None,
    )


# ---- predictions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prediction:
    choice: int | str | None
    margin: float | None = None


def flips(pairs: Iterable[Pair]) -> Flips | None:
    """Predictions that change: the likeliest choice, or what is found in a text."""
    changed, count = [], 0
    for (cell, row), ours, theirs in _predictions(pairs):
        count += 1
        if ours.choice != theirs.choice:
            changed.append(Flip(cell, row, ours.choice, theirs.choice, ours.margin, theirs.margin))
    return Flips(count, len(changed), tuple(changed[:_SHOWN])) if count else None


def _predictions(pairs: Iterable[Pair]) -> Iterator[tuple[tuple[str, int], _Prediction, _Prediction]]:
    for place, many in _by_question(pairs).items():
        kind = many[0].cell.task.kind
        if kind == "multiple_choice" and len(many) > 1 and all(pair.likelihoods for pair in many):
            both = [pair.likelihoods for pair in many if pair.likelihoods]
            yield place, _likeliest([one for one, _ in both]), _likeliest([two for _, two in both])
        elif kind == "generation" and len(many) == 1 and (texts := many[0].completions):
            yield place, _found(many[0], texts[0]), _found(many[0], texts[1])


def _by_question(pairs: Iterable[Pair]) -> Mapping[tuple[str, int], list[Pair]]:
    found: dict[tuple[str, int], list[Pair]] = {}
    for pair in pairs:
        found.setdefault((pair.cell.label, pair.row), []).append(pair)
    return found


def _likeliest(choices: Sequence[Likelihood]) -> _Prediction:
    """The first of the likeliest, as ``acc`` takes it."""
    sums = [choice.logprob for choice in choices]
    best, second = sorted(sums, reverse=True)[:2]
    return _Prediction(sums.index(best), best - second)


def _found(pair: Pair, reply: Reply) -> _Prediction:
    """What the task's first filter finds in a text; the whole text where it has none."""
    assert isinstance(reply, Completion)
    filters = pair.cell.scorer.filters
    # it has found its way through this very text when the run was scored
    return _Prediction(filters[0][1].find(reply.text) if filters else reply.text)


# ---- texts ---------------------------------------------------------------------------------------------


def texts(pairs: Iterable[Pair]) -> Texts | None:
    """Generated texts: how many are equal, and where the first one parts."""
    both = [(pair, *pair.completions) for pair in pairs if pair.completions]
    parted = [(pair, ours, theirs) for pair, ours, theirs in both if pair.parts]
    if not both:
        return None
    return Texts(len(both), len(both) - len(parted), _parting(*parted[0]) if parted else None)


def _parting(pair: Pair, ours: Completion, theirs: Completion) -> Parting:
    place = common_length(ours.text, theirs.text)
    return Parting(
        pair.cell.label,
        pair.row,
        common_length(ours.ids, theirs.ids) if ours.ids and theirs.ids else None,
        ours.text[place : place + _EXCERPT],
        theirs.text[place : place + _EXCERPT],
    )
