"""The reference backend's timings, and what it says of its memory."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from random_models import TINY_LLAMA, write_model

from slmeval.types import ModelRef, ScoreGroup, TokenIds, Workload
from slmeval_reference import ReferenceBackend
from slmeval_reference.model import Model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ReferenceBackend:
    folder = write_model(tmp_path_factory.mktemp("tiny"), TINY_LLAMA, seed=7)
    return ReferenceBackend(ModelRef(str(folder)), {"threads": 1})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TokenIds, int]]:
    """Of each pass through the model: the tokens that were run, and how many were in the cache before."""
    seen: list[tuple[TokenIds, int]] = []
    forward = Model.forward

    def watched(model: Model, tokens: Any, cache: Any) -> Any:
        seen.append((tuple(tokens.ids.tolist()), cache.length))
        return forward(model, tokens, cache)

    monkeypatch.setattr(Model, "forward", watched)
    return seen


def rows(count: int, length: int) -> tuple[TokenIds, ...]:
    return tuple(map(tuple, np.random.default_rng(5).integers(0, 96, (count, length)).tolist()))


def held(backend: ReferenceBackend) -> dict[str, float]:
    return {reading.scope: reading.value for reading in backend.memory()}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("depth", [0, 7])
@pytest.mark.parametrize("new", [0, 1, 5])
def test_times_rise_and_are_as_many_as_tokens(
    tiny: ReferenceBackend, batch: int, depth: int, new: int
) -> None:
    for timing in islice(tiny.time(Workload(rows(batch, 12), new, depth)), 3):
        assert timing.prefill is not None
        assert len(timing.tokens) == new
        assert all(one < other for one, other in pairwise([0.0, timing.prefill, *timing.tokens]))


def test_every_run_runs_all_of_it(tiny: ReferenceBackend, passes: list[tuple[TokenIds, int]]) -> None:
    (ids,) = rows(1, 12)
    list(islice(tiny.time(Workload((ids,), 3, 4)), 2))
    half = len(passes) // 2
    assert passes[:half] == passes[half:]
    assert passes[:2] == [(ids[:4], 0), (ids[4:], 4)]
    assert [(len(run), before) for run, before in passes[2:half]] == [(1, 12), (1, 13)]


def test_what_is_forced_is_run_and_what_is_not_is_the_likeliest(
    tiny: ReferenceBackend, passes: list[tuple[TokenIds, int]]
) -> None:
    prompts = rows(2, 6)
    next(tiny.time(Workload(prompts, 3, forced=((1, 2, 3), (4, 5, 6)))))
    assert [run for run, _ in passes[2:]] == [(1,), (4,), (2,), (5,)]
    passes.clear()
    next(tiny.time(Workload(prompts, 2)))
    best = [list(tiny.top_logprobs(ids, 1))[-1].ids for ids in prompts]
    assert [run for run, _ in passes[2:4]] == best


def test_memory_is_that_of_the_arrays(tiny: ReferenceBackend) -> None:
    weights = 8 * tiny.model_info().parameters
    assert held(tiny) == {"weights": weights}
    timings = tiny.time(Workload(rows(3, 12), 5, 4))
    next(timings)
    # two layers with two key-value heads of 12
    tokens, each = 3 * 16, 2 * 2 * 2 * 12 * 8
    assert held(tiny) == {"weights": weights, "kv cache": tokens * each, "kv cache room": tokens}
    timings.close()
    assert held(tiny) == {"weights": weights}


def test_scores_before_and_after_are_the_same(tiny: ReferenceBackend) -> None:
    groups = [ScoreGroup((1, 2, 3), ((4, 5), (6,)))]
    before = list(tiny.score(groups))
    timings = tiny.time(Workload(rows(2, 9), 3))
    next(timings)
    assert list(tiny.score(groups)) == before
    next(timings)
    timings.close()
    assert list(tiny.score(groups)) == before


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (Workload(rows(1, 65)), "65 tokens do not fit the model's context of 64"),
        (Workload(rows(1, 60), 6), "65 tokens do not fit"),
        (Workload(()), r"must have one length, and have \[\]"),
        (Workload(((1,), (2, 3))), r"must have one length, and have \[1, 2\]"),
        (Workload(rows(2, 5), depth=5), "prompts of 5 tokens cannot have 5 of them in the cache"),
        (Workload(rows(2, 5), depth=-1), "cannot have -1"),
        (Workload(rows(2, 5), 2, forced=((1, 2), (3,))), r"2 new tokens each were given \[2, 1\]"),
        (Workload(rows(1, 5), 1, forced=((96,),)), "token id 96"),
        (Workload(((1, 96),)), "token id 96"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_run(
    tiny: ReferenceBackend, passes: list[tuple[TokenIds, int]], workload: Workload, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        tiny.time(workload)
    assert not passes


def test_a_workload_that_just_fits_is_run(tiny: ReferenceBackend) -> None:
    assert len(next(tiny.time(Workload(rows(1, 60), 5))).tokens) == 5
