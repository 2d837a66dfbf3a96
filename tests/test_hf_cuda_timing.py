"""The hf backend's timings and memory on a GPU, where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter

import pytest
from random_models import DEMO_LLAMA, write_model

torch = pytest.importorskip("torch", reason="the hf backend needs torch")
pytest.importorskip("transformers", reason="the hf backend needs transformers")

from slmeval.errors import JobFailed  # noqa: E402
from slmeval.types import ModelRef, ScoreGroup, Workload  # noqa: E402
from slmeval_hf import HFBackend  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

#: of bfloat16, for each token and sequence: four layers with two key-value heads of 64
EACH = 2 * 4 * 2 * 64 * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), DEMO_LLAMA)


@pytest.fixture
def backend(folder: Path) -> Iterator[HFBackend]:
    defaults = {option.name: option.default for option in HFBackend.options}
    opened = HFBackend(ModelRef(str(folder)), {**defaults, "dtype": "bfloat16", "device": "cuda"})
    yield opened
    opened.close()


def prompts(count: int, length: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple((7 * at + row) % 2048 for at in range(length)) for row in range(count))


def held(backend: HFBackend) -> dict[str, float]:
    return {reading.scope: reading.value for reading in backend.memory()}


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("depth", [0, 100])
def test_times_rise_and_fill_the_time_that_went_by(backend: HFBackend, depth: int, forced: bool) -> None:
    given = ((5,) * 20,) * 3 if forced else ()
    timings = backend.time(Workload(prompts(3, 300), 20, depth, given))
    next(timings)
    begun = perf_counter()
    told = list(islice(timings, 4))
    passed = perf_counter() - begun
    for each in told:
        assert each.prefill is not None
        assert len(each.tokens) == 20
        assert all(one < other for one, other in pairwise([0.0, each.prefill, *each.tokens]))
    inside = sum(each.tokens[-1] for each in told)
    # a clock that did not wait for the device would leave its work to whoever waits next
    assert 0.5 * passed < inside < passed


def test_a_longer_prefill_takes_longer(backend: HFBackend) -> None:
    short, long = (
        sorted(told.prefill or 0.0 for told in islice(backend.time(Workload(prompts(batch, length))), 7))[3]
        for batch, length in ((1, 16), (256, 2000))
    )
    assert long > 1.5 * short


def test_the_device_tells_what_is_held(backend: HFBackend) -> None:
    before = held(backend)
    weights = 2 * backend.model_info().parameters
    assert weights <= before["weights"] < weights + 4096
    assert before["active"] >= before["weights"]
    timings = backend.time(Workload(prompts(4, 1000), 2))
    next(timings)
    found = held(backend)
    assert found["kv cache"] == 4 * 1001 * EACH
    assert found["kv cache room"] == 4 * 1001
    assert found["active"] >= before["active"] + found["kv cache"]
    assert found["peak"] > found["active"]
    timings.close()  # type: ignore[attr-defined]
    after = held(backend)
    # what cuBLAS took for its own work at the first pass stays
    assert after["active"] <= found["active"] - found["kv cache"]
    assert after["peak"] == found["peak"]


def test_a_model_that_is_opened_anew_has_a_peak_of_its_own(folder: Path, backend: HFBackend) -> None:
    next(backend.time(Workload(prompts(16, 2000))))
    high = held(backend)["peak"]
    defaults = {option.name: option.default for option in HFBackend.options}
    other = HFBackend(ModelRef(str(folder)), {**defaults, "dtype": "bfloat16", "device": "cuda"})
    assert held(other)["peak"] < high
    other.close()


def test_a_workload_that_is_too_large_is_said_and_leaves_nothing(backend: HFBackend) -> None:
    before, room = held(backend)["active"], 2e9
    _, whole = torch.cuda.mem_get_info()
    count = int(2 * room / (2000 * EACH))
    torch.cuda.set_per_process_memory_fraction(room / whole)
    try:
        with pytest.raises(JobFailed, match=f"memory ran out while {count} sequences of 2000 tokens were"):
            next(backend.time(Workload(prompts(1, 2000) * count)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert held(backend)["active"] <= before + 64e6


def test_scores_before_and_after_are_the_same(backend: HFBackend) -> None:
    groups = [ScoreGroup(ids, ((4, 5), (6,))) for ids in prompts(3, 50)]
    before = list(backend.score(groups))
    timings = backend.time(Workload(prompts(3, 200), 5, 50))
    list(islice(timings, 2))
    assert list(backend.score(groups)) == before
    timings.close()  # type: ignore[attr-defined]
    assert list(backend.score(groups)) == before
