"""The MLX backend's timings, and the memory of what is timed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import DEMO_LLAMA, TINY_LLAMA, write_model

from slmeval.errors import JobFailed
from slmeval.types import GenerationSettings, ModelRef, Prompt, ScoreGroup, TokenIds, Workload
from slmeval_mlx import MLXBackend

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed")

#: of each pass: the tokens that were run, [rows, columns], and the cache that they were run with
Passes = list[tuple[Any, list[Any]]]


def opened(folder: Path | ModelRef, **options: Any) -> MLXBackend:
    ref = folder if isinstance(folder, ModelRef) else ModelRef(str(folder))
    known = {option.name: option.default for option in MLXBackend.options}
    return MLXBackend(ref, {**known, **options})


def rows(count: int, length: int, vocabulary: int = 96) -> tuple[TokenIds, ...]:
    return tuple(map(tuple, np.random.default_rng(5).integers(0, vocabulary, (count, length)).tolist()))


def held(backend: MLXBackend) -> dict[str, float]:
    return {reading.scope: reading.value for reading in backend.memory()}


def watched(backend: MLXBackend, monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Grows with each pass."""
    passes: Passes = []
    logits = backend._engine._passes.logits

    def run(cache: list[Any], ids: Any) -> Any:
        passes.append((ids, cache))
        return logits(cache, ids)

    monkeypatch.setattr(backend._engine._passes, "logits", run)
    return passes


def fed(passes: Passes) -> list[list[list[int]]]:
    return [ids.tolist() for ids, _ in passes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"), TINY_LLAMA, seed=7)


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Iterator[MLXBackend]:
    backend = opened(folder)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def demo(demo_model: Path) -> Iterator[MLXBackend]:
    backend = opened(demo_model, dtype="float32")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> MLXBackend:
    """A Gemma 3: five layers with a sliding window of 8, and one without."""
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    config = transformers.Gemma3TextConfig(
        **SIZES, num_hidden_layers=6, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=128, max_position_embeddings=64,
    )  # fmt: skip
    return opened(saved(config, tmp_path_factory.mktemp("rotating")), prefill_step=6)


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> MLXBackend:
    """A Mamba: no keys and values at all."""
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    config = transformers.MambaConfig(**SIZES, num_hidden_layers=2)
    return opened(saved(config, tmp_path_factory.mktemp("recurrent")), prefill_step=6)


SIZES = {"vocab_size": 96, "hidden_size": 64, **dict.fromkeys(("bos_token_id", "eos_token_id"), 0)}


def saved(config: Any, folder: Path) -> Path:
    torch = pytest.importorskip("torch", reason="the Hugging Face engine is not installed")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).float().save_pretrained(folder)
    return folder


# ---- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("depth", [0, 7])
@pytest.mark.parametrize("new", [0, 1, 5])
def test_times_rise_and_are_as_many_as_tokens(
    tiny: MLXBackend, batch: int, depth: int, new: int, forced: bool
) -> None:
    given = rows(batch, new) if forced else ()
    for timing in islice(tiny.time(Workload(rows(batch, 12), new, depth, given)), 3):
        assert timing.prefill is not None
        assert len(timing.tokens) == new
        assert all(one < other for one, other in pairwise([0.0, timing.prefill, *timing.tokens]))


def test_a_token_is_waited_for_while_the_next_pass_is_under_way(
    tiny: MLXBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmeval_mlx import timing

    clock = iter(range(1000))
    order: list[str] = []

    def noted(name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            order.append(name)
            return function(*args)

        return call

    monkeypatch.setattr(timing, "perf_counter", noted("clock", lambda: float(next(clock))))
    for name in ("eval", "synchronize", "async_eval"):
        monkeypatch.setattr(mx, name, noted(name, getattr(mx, name)))
    found = next(tiny.time(Workload(rows(1, 12), 4)))
    assert order[order.index("clock") - 1] == "synchronize"
    ran = order[order.index("clock") :]
    # the cache is filled, and the logits after the last token are waited for
    assert ran[:5] == ["clock", "eval", "eval", "synchronize", "clock"]
    # the first token at once; then each one while the next is under way, the last one alone
    assert ran[5:] == [
        "async_eval",
        "clock",
        "async_eval",
        "async_eval",
        "clock",
        "async_eval",
        "clock",
        "clock",
    ]
    assert (found.prefill, found.tokens) == (1, (2, 3, 4, 5))


# ---- what is run -----------------------------------------------------------------------------------


def test_every_run_runs_all_of_it_from_the_same_cache(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened(demo_model, dtype="float32", prefill_step=32)
    passes = watched(backend, monkeypatch)
    (ids,) = rows(1, 300, 2048)
    rooms = []
    with closing(backend.time(Workload((ids,), 3, 250))) as timings:
        for number in range(3):
            next(timings)
            timed = fed(passes[8 * (number == 0) :])
            # in steps, the last token by itself, and new ones but for the last
            assert timed[:3] == [[list(ids[250:282])], [list(ids[282:299])], [[ids[299]]]]
            assert [len(each[0]) for each in timed[3:]] == [1, 1]
            rooms.append(held(backend)["kv cache room"])
            passes.clear()
        # 256 columns in which 250 tokens are, and those of the prompt behind them
        assert rooms == [250 + 256] * 3


@pytest.mark.parametrize("kv_bits", [0, 8])
def test_a_cache_that_is_set_back_has_the_bits_of_a_fresh_one(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch, kv_bits: int
) -> None:
    backend = opened(demo_model, dtype="float32", kv_bits=kv_bits)
    passes = watched(backend, monkeypatch)
    with closing(backend.time(Workload(rows(2, 262, 2048), 5, 250))) as timings:
        runs = []
        for _ in range(2):
            next(timings)
            runs.append((fed(passes)[-5:], [arrays(layer) for layer in passes[-1][1]]))
            passes.clear()
        assert runs[0] == runs[1]


def arrays(layer: Any) -> list[Any]:
    from mlx.utils import tree_flatten

    return [np.array(array).tobytes() for _, array in tree_flatten((layer.keys, layer.values))]


def test_a_cache_is_as_large_as_at_first_when_the_clock_starts(demo: MLXBackend) -> None:
    with closing(demo.time(Workload(rows(2, 262, 2048), 5, 250))) as timings:
        next(timings)
        (runs,) = demo._engine._timed
        assert runs.cache[0].keys.shape[-2] == 506
        runs._set_back()
        assert {(layer.offset, layer.keys.shape) for layer in runs.cache} == {(250, (2, 2, 256, 64))}


def test_the_tokens_are_those_that_are_written(
    demo_model: Path, demo: MLXBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = rows(3, 20, 2048)
    written = [each.ids for each in demo.generate(list(map(Prompt, prompts)), GenerationSettings(6), str)]
    backend = opened(demo_model, dtype="float32")
    passes = watched(backend, monkeypatch)
    for depth in (0, 11):
        passes.clear()
        next(backend.time(Workload(prompts, 6, depth)))
        steps = fed(passes)[-5:]
        assert [tuple(step[row][0] for step in steps) for row in range(3)] == [ids[:5] for ids in written]


def test_what_is_forced_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(folder)
    passes = watched(backend, monkeypatch)
    prompts = rows(2, 6)
    next(backend.time(Workload(prompts, 3, forced=((1, 2, 3), (4, 5, 6)))))
    assert fed(passes) == [
        [list(ids[:5]) for ids in prompts],
        [[ids[5]] for ids in prompts],
        [[1], [4]],
        [[2], [5]],
    ]


@pytest.mark.parametrize("kind", ["rotating", "recurrent"])
def test_a_cache_that_cannot_be_cut_off_is_made_anew(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = request.getfixturevalue(kind)
    passes = watched(backend, monkeypatch)
    with closing(backend.time(Workload(rows(2, 24), 3, 14))) as timings:
        runs = []
        for _ in range(2):
            assert len(next(timings).tokens) == 3
            runs.append(fed(passes))
            passes.clear()
        assert runs[0] == runs[1]
        # 14 tokens in steps of 6 before the clock, 9 behind it, the last one, and two new ones
        assert [len(ids[0]) for ids in runs[0]] == [6, 6, 2, 6, 3, 1, 1, 1]
        written = backend.generate(list(map(Prompt, rows(2, 24))), GenerationSettings(3), str)
        found = [tuple(ids[row][0] for ids in runs[0][-2:]) for row in (0, 1)]
        assert found == [each.ids[:2] for each in written]


def test_what_is_timed_is_the_model_that_mlx_lm_has_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx import nn
    from mlx_lm.models import llama

    backend = opened(folder)
    model = backend._engine._passes.model
    modules = [model.model, *(layer.self_attn.rope for layer in model.layers)]
    plain: list[type] = [llama.LlamaModel, *[nn.RoPE] * 2]
    assert not any(type(module) is kind for module, kind in zip(modules, plain, strict=True))
    seen: list[list[type]] = []
    logits = backend._engine._passes.logits

    def run(cache: list[Any], ids: Any) -> Any:
        seen.append([type(module) for module in modules])
        return logits(cache, ids)

    monkeypatch.setattr(backend._engine._passes, "logits", run)
    with closing(backend.time(Workload(rows(1, 12), 3, 4))) as timings:
        next(timings)
        assert seen == [plain] * 5
        # and in between it is what scoring needs
        assert len(next(iter(backend.score([ScoreGroup((1, 2, 3), ((4, 5),))])))) == 1
        assert seen[5:]
        assert plain not in seen[5:]


def test_scores_and_texts_are_the_same_during_and_after(demo: MLXBackend) -> None:
    (text,) = rows(1, 200, 2048)
    groups = [ScoreGroup(text[:150], (text[150:], text[3:9])), ScoreGroup(text[:160], ((5,),), 150)]
    prompts = [Prompt(text[:150]), Prompt(text[:140])]

    def asked() -> tuple[object, object]:
        return list(demo.score(groups)), list(demo.generate(prompts, GenerationSettings(5), str))

    before = asked()
    with closing(demo.time(Workload(rows(2, 30, 2048), 3, 9))) as timings:
        for _ in range(2):
            next(timings)
            assert asked() == before
    assert asked() == before


def test_of_a_closed_model_nothing_is_left(folder: Path) -> None:
    backend, (prompt,) = opened(folder), rows(1, 12)
    list(backend.score([ScoreGroup(prompt, ((4, 5),))]))
    list(backend.generate([Prompt(prompt)], GenerationSettings(3), str))
    with closing(backend.time(Workload((prompt,), 3))) as timings:
        next(timings)
    modules = list(map(weakref.ref, backend._engine._checkpoint.model.modules()))
    backend.close()
    assert not any(module() for module in modules)


# ---- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (Workload(rows(1, 65)), "65 tokens do not fit the model's context of 64"),
        (Workload(rows(1, 60), 6), "65 tokens do not fit"),
        (Workload(rows(2, 5), depth=5), "prompts of 5 tokens cannot have 5 of them in the cache"),
        (Workload(rows(1, 5), 1, forced=((96,),)), "token id 96"),
    ],
)
def test_what_does_not_fit_is_refused(tiny: MLXBackend, workload: Workload, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        tiny.time(workload)


def test_a_workload_that_just_fits_is_run(tiny: MLXBackend) -> None:
    assert len(next(tiny.time(Workload(rows(1, 60), 5))).tokens) == 5


def test_a_sliding_window_that_mlx_lm_leaves_out_ends_the_job(tmp_path: Path) -> None:
    shape = {**TINY_LLAMA, "model_type": "mistral", "sliding_window": 8}
    backend = opened(write_model(tmp_path, shape, seed=2))
    assert next(backend.time(Workload(rows(1, 5), 4))).tokens
    with pytest.raises(JobFailed, match="9 tokens are more than this model's sliding window of 8"):
        next(backend.time(Workload(rows(1, 5), 5)))


def test_memory_that_runs_out_is_said_with_the_workload(
    tiny: MLXBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("[malloc] Unable to allocate 1 bytes.")

    monkeypatch.setattr(tiny._engine._passes, "logits", full)
    with pytest.raises(JobFailed, match="memory ran out with 3 sequences of 16 tokens"):
        next(tiny.time(Workload(rows(3, 12), 5)))
    assert "kv cache" not in held(tiny)


# ---- memory ----------------------------------------------------------------------------------------

#: bytes of a token's keys and values in the demo model: of two heads of 64, in four layers
PLAIN = 2 * 4 * 2 * 64 * 4


def settled(backend: MLXBackend) -> dict[str, float]:
    """What is held when nothing is under way, and nothing kept."""
    gc.collect()
    with closing(backend.time(Workload(rows(1, 2)))) as timings:
        next(timings)
    return held(backend)


def test_memory_is_that_of_the_cache_until_the_iterator_is_closed(demo: MLXBackend) -> None:
    before = settled(demo)
    with closing(demo.time(Workload(rows(3, 250, 2048), 10, 4))) as timings:
        next(timings)
        during = held(demo)
        # 256 columns for the prompt; 3 of the 9 new tokens that are inputs find no room there
        room = 3 * 512
        assert during["kv cache room"] == room
        assert during["kv cache"] == room * PLAIN
        assert during["weights"] == before["weights"] == 4 * demo.model_info().parameters
        assert during["active"] - before["active"] == pytest.approx(during["kv cache"], rel=0.02)
    assert held(demo).keys() == {"weights", "active", "peak"}
    assert held(demo)["active"] == pytest.approx(before["active"], abs=1000)


def test_a_short_prompt_has_room_for_256_tokens(demo: MLXBackend) -> None:
    with closing(demo.time(Workload(rows(1, 12, 2048)))) as timings:
        next(timings)
        assert (held(demo)["kv cache room"], held(demo)["kv cache"]) == (256, 256 * PLAIN)


def test_what_scoring_has_kept_makes_room(demo: MLXBackend) -> None:
    (text,) = rows(1, 600, 2048)
    before = settled(demo)
    list(demo.score([ScoreGroup(text, ((5,), (6, 7)))]))
    assert held(demo)["active"] - before["active"] > 512 * PLAIN
    with closing(demo.time(Workload(rows(1, 12, 2048)))) as timings:
        next(timings)
        during = held(demo)
        assert during["active"] - before["active"] == pytest.approx(during["kv cache"], rel=0.02)


def test_two_workloads_at_once_are_both_told_of(demo: MLXBackend) -> None:
    one, other = demo.time(Workload(rows(1, 12, 2048))), demo.time(Workload(rows(2, 12, 2048)))
    next(one), next(other)
    assert held(demo)["kv cache room"] == 3 * 256
    one.close()
    assert held(demo)["kv cache room"] == 2 * 256
    other.close()
    assert "kv cache" not in held(demo)


def test_a_quantized_cache_is_smaller_with_its_scales(demo_model: Path) -> None:
    backend = opened(demo_model, dtype="float32", kv_bits=8)
    with closing(backend.time(Workload(rows(2, 30, 2048), 4, 6))) as timings:
        next(timings)
        during = held(backend)
        assert during["kv cache room"] == 2 * 256
        # a byte each, and a scale and a bias in float32 for 64 of them
        assert during["kv cache"] == 2 * 256 * PLAIN / 4 * (1 + 8 / 64)


def test_half_precision_holds_half(tmp_path: Path) -> None:
    backend = opened(write_model(tmp_path, DEMO_LLAMA), dtype="float16")
    assert held(backend)["weights"] == pytest.approx(2 * backend.model_info().parameters, rel=0.02)
    with closing(backend.time(Workload(rows(1, 12, 2048), 2))) as timings:
        next(timings)
        assert held(backend)["kv cache"] == 256 * PLAIN / 2


def test_layers_with_a_window_hold_less(rotating: MLXBackend) -> None:
    with closing(rotating.time(Workload(rows(2, 24), 3))) as timings:
        next(timings)
        during = held(rotating)
        # the layer that sees everything has room for 256 tokens; the others keep 8
        of_layer = 2 * 2 * 2 * 16 * 4
        assert during["kv cache room"] == 2 * 256
        assert during["kv cache"] == of_layer * (256 + 5 * 8)


def test_a_state_is_no_cache(recurrent: MLXBackend) -> None:
    with closing(recurrent.time(Workload(rows(2, 24), 3))) as timings:
        next(timings)
        during = held(recurrent)
        assert during.keys() == {"weights", "state", "active", "peak"}
        # in each of two layers and sequences: three inputs of the convolution, and 16 numbers for each of 128
        assert during["state"] == 2 * 2 * 128 * (3 + 16) * 4
