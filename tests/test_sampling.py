"""Drawing tokens: the distribution, its nucleus, and the random numbers of a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from slmeval.sampling import Sampler, sampler_of
from slmeval.types import GenerationSettings

#: after the softmax 0.4, 0.3, 0.2, 0.1, in no order
LOGITS = np.log([0.2, 0.4, 0.1, 0.3]) + 7


def settings(temperature: float, top_p: float = 1.0) -> GenerationSettings:
    return GenerationSettings(temperature=temperature, top_p=top_p)


def shares(logits: NDArray[np.float64], drawn_by: GenerationSettings, times: int = 20_000) -> list[float]:
    sampler = Sampler(drawn_by, 1)
    counts = Counter(sampler.draw(logits) for _ in range(times))
    return [counts[token] / times for token in range(len(logits))]


@pytest.mark.parametrize(
    ("temperature", "top_p", "wanted"),
    [
        (1, 1, [0.2, 0.4, 0.1, 0.3]),
        # squares over their sum
        (0.5, 1, [4 / 30, 16 / 30, 1 / 30, 9 / 30]),
        # the likeliest that have 0.65 and more between them
        (1, 0.65, [0, 4 / 7, 0, 3 / 7]),
        (1, 0.75, [2 / 9, 4 / 9, 0, 3 / 9]),
        # of the distribution at that temperature: 16 and 9 of 30 are more than 0.75, as 0.4 and 0.3 are not
        (0.5, 0.75, [0, 16 / 25, 0, 9 / 25]),
        (1, 0.0001, [0, 1, 0, 0]),
        (0.001, 1, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(
    temperature: float, top_p: float, wanted: list[float]
) -> None:
    found = shares(LOGITS, settings(temperature, top_p))
    # five standard errors
    assert found == pytest.approx(wanted, abs=0.018)
    assert [share == 0 for share in found] == [share == 0 for share in wanted]


def test_of_a_large_vocabulary_the_nucleus_is_that_of_sorting_all_of_it() -> None:
    logits = np.random.default_rng(3).normal(0, 3, 50_000)
    weights = np.exp(logits - logits.max())
    order = np.argsort(-weights, kind="stable")
    for top_p in (0.01, 0.5, 0.9, 0.999):
        ends = np.cumsum(weights[order]) / weights.sum()
        nucleus = set(order[: 1 + int(np.searchsorted(ends, top_p))].tolist())
        sampler = Sampler(settings(1, top_p), 5)
        assert {sampler.draw(logits) for _ in range(300)} <= nucleus


def test_the_same_seed_draws_the_same_and_another_seed_something_else() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(settings(1), seed)
        return [sampler.draw(LOGITS) for _ in range(40)]

    assert drawn(3) == drawn(3)
    assert len({tuple(drawn(seed)) for seed in range(50)}) == 50
    # that of Python's random(), kept for ever: answers in a store were drawn with it
    assert drawn(0)[:12] == [3, 3, 1, 1, 1, 1, 3, 1, 1, 1, 3, 1]


def test_a_text_is_gone_on_with_where_it_was_left() -> None:
    whole, first = Sampler(settings(1), 8), Sampler(settings(1), 8)
    ids = [whole.draw(LOGITS) for _ in range(30)]
    begun = [first.draw(LOGITS) for _ in range(12)]
    rest = Sampler(settings(1), 8, drawn=12)
    assert [*begun, *(rest.draw(LOGITS) for _ in range(18))] == ids


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_logits_of_any_width_are_drawn_from_alike(kind: type) -> None:
    logits = np.array([0.5, 2, -1, 1.25, -np.inf], kind)
    samplers = Sampler(settings(0.7, 0.95), 2), Sampler(settings(0.7, 0.95), 2)
    for _ in range(50):
        found = samplers[0].draw(logits)
        assert found == samplers[1].draw(logits.astype(np.float64)) < 4


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="the model's logits are not numbers"):
        Sampler(settings(1), 0).draw(np.array([0.0, number]))


def test_at_a_temperature_of_nothing_nothing_is_drawn() -> None:
    assert sampler_of(settings(0, 0.5), 3) is None
    assert sampler_of(settings(0.1), 3) is not None
