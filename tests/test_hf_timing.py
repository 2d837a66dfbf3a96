"""The hf backend's timings, and what it says of its memory: over the kinds of cache that there are."""

from __future__ import annotations

import functools
import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the hf backend needs torch")
transformers = pytest.importorskip("transformers", reason="the hf backend needs transformers")

from slmeval.errors import JobFailed  # noqa: E402
from slmeval.types import (  # noqa: E402
    GenerationSettings,
    ModelRef,
    Prompt,
    ScoreGroup,
    TokenIds,
    Workload,
)
from slmeval_hf import HFBackend, timing  # noqa: E402
from slmeval_hf.own_passes import OwnPasses  # noqa: E402

VOCABULARY, CONTEXT, WINDOW = 97, 64, 6
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
SMALL_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
SMALL_GEMMA2 = {**SMALL, "num_hidden_layers": 2, "head_dim": 8, "sliding_window": WINDOW}
MARKS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
SMALL_MAMBA = {**MARKS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
SMALL_RWKV = {**MARKS, "hidden_size": 32, "num_hidden_layers": 2, "context_length": CONTEXT}
SMALL_GRIFFIN = {**SMALL, "lru_width": 32, "head_dim": 8, "attention_window_size": WINDOW}

#: keys and values of all tokens; learned positions; windows beside whole layers; windows alone; states;
#: states that know no batch; states in the model's own modules, beside a cache that it does not give back
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "gpt2": lambda: transformers.GPT2Config(**SMALL_GPT2, bos_token_id=1, eos_token_id=2),
    "gemma2": lambda: transformers.Gemma2Config(**SMALL_GEMMA2),
    "mistral": lambda: transformers.MistralConfig(**SMALL, sliding_window=WINDOW),
    "mamba": lambda: transformers.MambaConfig(**SMALL_MAMBA),
    "rwkv": lambda: transformers.RwkvConfig(**SMALL_RWKV),
    "recurrent_gemma": lambda: transformers.RecurrentGemmaConfig(**SMALL_GRIFFIN),
}
#: what can be timed with every one of them
ALL = ("llama", "gpt2", "gemma2", "mistral", "mamba", "recurrent_gemma")

Opened = Callable[[str], HFBackend]


def open_model(folder: Path, **options: Any) -> HFBackend:
    defaults = {option.name: option.default for option in HFBackend.options}
    return HFBackend(ModelRef(str(folder)), {**defaults, "dtype": "float32", **options})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of each kind of model, with weights large enough that predictions are far from even."""

    @functools.cache
    def folder(kind: str) -> Path:
        torch.manual_seed(3)
        model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]())
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.25)
        place = tmp_path_factory.mktemp(kind)
        model.save_pretrained(place)
        return place

    return folder


@pytest.fixture(scope="module")
def opened(folders: Callable[[str], Path]) -> Opened:
    """A backend for each kind, for tests that leave it as it was."""
    return functools.cache(lambda kind: open_model(folders(kind)))


def rows(count: int, length: int) -> tuple[TokenIds, ...]:
    draw = random.Random(5)
    return tuple(tuple(draw.randrange(3, VOCABULARY) for _ in range(length)) for _ in range(count))


Pass = tuple[list[list[int]], Any]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """Of each pass: the ids that were run, and the logits that came of it."""
    seen: list[Pass] = []
    run = OwnPasses.run

    def watched(self: OwnPasses, ids: Any, cache: Any) -> Any:
        logits, after = run(self, ids, cache)
        seen.append((ids.tolist(), logits.clone()))
        return logits, after

    monkeypatch.setattr(OwnPasses, "run", watched)
    return seen


def lengths(passes: list[Pass]) -> list[int]:
    return [len(ids[0]) for ids, _ in passes]


def held(backend: HFBackend) -> dict[str, float]:
    return {reading.scope: reading.value for reading in backend.memory()}


@contextmanager
def under_way(backend: HFBackend, workload: Workload, runs: int = 1) -> Iterator[None]:
    """While this lasts, ``workload`` was run so often."""
    timings = backend.time(workload)
    list(islice(timings, runs))
    yield
    timings.close()  # type: ignore[attr-defined]


# ---- times -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("new", [0, 1, 5])
def test_times_rise_and_are_as_many_as_tokens(opened: Opened, kind: str, batch: int, new: int) -> None:
    for told in islice(opened(kind).time(Workload(rows(batch, 12), new)), 2):
        assert told.prefill is not None
        assert len(told.tokens) == new
        assert all(one < other for one, other in pairwise([0.0, told.prefill, *told.tokens]))


@pytest.mark.parametrize("kind", ALL)
def test_what_is_not_forced_is_the_likeliest(opened: Opened, passes: list[Pass], kind: str) -> None:
    backend, prompts = opened(kind), rows(2, 12)
    next(backend.time(Workload(prompts, 5)))
    fed = [[ids[row][0] for ids, _ in passes[-4:]] for row in range(2)]
    settings = GenerationSettings(4)
    texts = [text.ids for text in backend.generate([Prompt(ids) for ids in prompts], settings, str)]
    assert fed == [list(ids) for ids in texts]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mamba"])
def test_what_is_forced_is_run(opened: Opened, passes: list[Pass], kind: str) -> None:
    backend, prompts, forced = opened(kind), rows(2, 6), ((11, 12, 13), (21, 22, 23))
    told = next(backend.time(Workload(prompts, 3, forced=forced)))
    assert [ids for ids, _ in passes[-3:]] == [list(map(list, prompts)), [[11], [21]], [[12], [22]]]
    assert len(told.tokens) == 3
    # the last one would come of the logits after the one before it
    after = list(backend.top_logprobs((*prompts[0], 11, 12), 1))[-1].ids[0]
    assert int(passes[-1][1][0].argmax()) == after


@pytest.mark.parametrize(("kind", "before"), [("llama", 1), ("gpt2", 1), ("gemma2", 2), ("mistral", 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_in_the_cache_before_is_the_same_in_every_run(
    opened: Opened, passes: list[Pass], kind: str, before: int, batch: int
) -> None:
    list(islice(opened(kind).time(Workload(rows(batch, 12), 3, 8)), 2))
    first, second = passes[1:4], passes[-3:]
    assert lengths(first) == lengths(second) == [4, 1, 1]
    # beyond a window, what was seen is gone, and is run again
    assert lengths(passes).count(8) == before
    for (ids, logits), (again, same) in zip(first, second, strict=True):
        assert ids == again
        assert torch.equal(logits, same)


def test_a_window_that_is_not_full_is_cut_back(opened: Opened, passes: list[Pass]) -> None:
    list(islice(opened("gemma2").time(Workload(rows(1, 4), 2, 2)), 2))
    assert lengths(passes) == [2, 2, 1, 2, 1]
    assert torch.equal(passes[2][1], passes[4][1])


def test_behind_a_depth_the_logits_are_those_of_the_whole_prompt(opened: Opened, passes: list[Pass]) -> None:
    for depth in (0, 7):
        next(opened("llama").time(Workload(rows(2, 12), 0, depth)))
    assert lengths(passes) == [12, 7, 5]
    assert torch.allclose(passes[0][1], passes[2][1], atol=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_without_a_depth_every_run_begins_with_an_empty_cache(
    opened: Opened, passes: list[Pass], kind: str
) -> None:
    backend = opened(kind)
    next(backend.time(Workload(rows(1, 3))))
    passes.clear()
    list(islice(backend.time(Workload(rows(2, 12), 3)), 2))
    assert lengths(passes) == [12, 1, 1, 12, 1, 1]
    for (_, logits), (_, same) in zip(passes[:3], passes[3:], strict=True):
        assert torch.equal(logits, same)


def test_the_device_is_waited_for_before_the_clock_and_at_every_time(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    run = OwnPasses.run

    def watched(self: OwnPasses, ids: Any, cache: Any) -> Any:
        seen.append(str(ids.shape[1]))
        return run(self, ids, cache)

    clock = timing.perf_counter
    monkeypatch.setattr(OwnPasses, "run", watched)
    monkeypatch.setattr(timing, "waiter", lambda _: lambda: seen.append("wait"))
    monkeypatch.setattr(timing, "perf_counter", lambda: seen.append("clock") or clock())
    next(open_model(folders("llama")).time(Workload(rows(1, 9), 2, 4, ((5, 6),))))
    prefill, decode = ["wait", "clock", "5", "wait", "clock"], ["1", "wait", "clock"]
    assert seen[-11:] == ["4", *prefill, "wait", "clock", *decode]


def test_the_model_attends_as_transformers_opened_it_while_it_is_timed(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    run = OwnPasses.run

    def watched(self: OwnPasses, ids: Any, cache: Any) -> Any:
        seen.append((self.model.config._attn_implementation, torch.is_inference_mode_enabled()))
        return run(self, ids, cache)

    monkeypatch.setattr(OwnPasses, "run", watched)
    for given, used in (("auto", "sdpa"), ("eager", "eager")):
        backend = open_model(folders("llama"), attention=given)
        assert not [note for note in backend.notes() if "times" in note]
        next(backend.time(Workload(rows(1, 4), 1)))
        assert seen.pop() == (used, True)
        assert backend.notes()[-1].startswith(
            f"times are those of plain passes of transformers with its own attention ({used}) and cache "
            "(DynamicCache)"
        )


def test_threads_are_those_that_were_asked_for(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, before = [], torch.get_num_threads()
    run = OwnPasses.run
    monkeypatch.setattr(OwnPasses, "run", lambda *given: seen.append(torch.get_num_threads()) or run(*given))
    try:
        for threads in (1, 2):
            next(open_model(folders("llama"), threads=threads).time(Workload(rows(1, 4))))
    finally:
        torch.set_num_threads(before)
    assert [seen[0], seen[-1]] == [1, 2]


# ---- nothing is left of it -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mamba"])
def test_scores_and_texts_before_while_and_after_are_the_same(opened: Opened, kind: str) -> None:
    backend, prompts = opened(kind), rows(2, 9)
    groups = [ScoreGroup(ids, ((4, 5), (6,))) for ids in prompts]

    def asked() -> Any:
        texts = backend.generate([Prompt(ids) for ids in prompts], GenerationSettings(5), str)
        return list(backend.score(groups)), list(texts)

    before = asked()
    with under_way(backend, Workload(prompts, 3, 1 if kind != "mamba" else 0), runs=2):
        assert asked() == before
    assert asked() == before


def test_closing_gives_back_the_cache(opened: Opened) -> None:
    backend = opened("llama")
    with under_way(backend, Workload(rows(2, 9), 3)):
        (sequences,) = backend._engine._timer.under_way
        kept = weakref.ref(sequences.cache.layers[0])
        del sequences
        assert kept() is not None
        assert "kv cache" in held(backend)
    assert kept() is None
    assert "kv cache" not in held(backend)


@pytest.mark.parametrize("kind", CONFIGS)
def test_of_a_closed_model_nothing_is_left(folders: Callable[[str], Path], kind: str) -> None:
    backend, (prompt,) = open_model(folders(kind)), rows(1, 9)
    list(backend.score([ScoreGroup(prompt, ((4, 5),))]))
    list(backend.generate([Prompt(prompt)], GenerationSettings(3), str))
    with under_way(backend, Workload((prompt,), 3)):
        model = weakref.ref(backend._engine._checkpoint.model)
    backend.close()
    assert model() is None


def test_memory_that_runs_out_is_said(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    backend = opened("llama")
    monkeypatch.setattr(OwnPasses, "run", no_room)
    with pytest.raises(
        JobFailed, match="memory ran out while 3 sequences of 12 tokens were timed: take fewer"
    ):
        next(backend.time(Workload(rows(3, 10), 3)))
    assert "kv cache" not in held(backend)


# ---- what cannot be timed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (Workload(rows(1, 65)), "65 tokens do not fit the model's context of 64"),
        (Workload(rows(1, 60), 6), "65 tokens do not fit"),
        (Workload(rows(2, 5), depth=5), "prompts of 5 tokens cannot have 5 of them in the cache"),
        (Workload(((1, VOCABULARY),)), "token id 97"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_run(
    opened: Opened, passes: list[Pass], workload: Workload, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        opened("llama").time(workload)
    assert not passes


@pytest.mark.parametrize(
    ("kind", "workload", "why"),
    [
        ("mamba", Workload(rows(1, 9), 1, 4), "several tokens behind a depth: with its own cache"),
        ("recurrent_gemma", Workload(rows(1, 9), 1, 4), "several tokens behind a depth: with its own cache"),
        ("rwkv", Workload(rows(2, 9), 1), "several sequences at once: with its own cache log-probabilities"),
    ],
)
def test_what_transformers_runs_wrongly_is_not_timed(
    opened: Opened, kind: str, workload: Workload, why: str
) -> None:
    with pytest.raises(JobFailed, match=why):
        opened(kind).time(workload)
    assert opened(kind).lacking() == {}


@pytest.mark.parametrize(
    ("kind", "workload"),
    [
        ("mamba", Workload(rows(2, 9), 2, 8)),
        ("rwkv", Workload(rows(1, 9), 2, 4)),
        ("rwkv", Workload(rows(1, 9))),
    ],
)
def test_what_it_runs_rightly_of_such_models_is(opened: Opened, kind: str, workload: Workload) -> None:
    assert len(next(opened(kind).time(workload)).tokens) == workload.new_tokens


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda logits: 2 * logits, "log-probabilities differ by"),
        (lambda logits: logits * torch.nan, "it gives log-probabilities that are no numbers"),
        (lambda logits: logits.nothing, r"it fails \(AttributeError\)"),
    ],
)
def test_a_model_whose_cache_is_not_right_lacks_what_would_time_it(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any], why: str
) -> None:
    run = OwnPasses.run

    def faulty(self: OwnPasses, ids: Any, cache: Any) -> Any:
        logits, after = run(self, ids, cache)
        return (logits if cache is None else wrong(logits)), after

    monkeypatch.setattr(OwnPasses, "run", faulty)
    backend = open_model(folders("mamba"))
    lacking = backend.lacking()
    assert lacking.keys() == {"time", "force"}
    assert lacking["time"].startswith(f"with its own cache {why}".replace("\\", ""))
    with pytest.raises(JobFailed, match=f"the model cannot be timed: with its own cache {why}"):
        backend.time(Workload(rows(1, 4)))


def test_a_cache_that_is_known_to_be_right_is_not_tried(opened: Opened, passes: list[Pass]) -> None:
    assert opened("llama").lacking() == {}
    assert not passes


# ---- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_weights_are_every_parameter_once(demo_model: Path, dtype: str, size: int) -> None:
    backend = open_model(demo_model, dtype=dtype)
    # the head is the embedding; rotary frequencies of 64 dimensions are two buffers of float32
    assert held(backend) == {"weights": size * backend.model_info().parameters + 2 * 32 * 4}
    assert {reading.unit for reading in backend.memory()} == {"bytes"}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_the_cache_is_as_large_as_the_formula_says(
    demo_model: Path, batch: int, dtype: str, size: int
) -> None:
    backend = open_model(demo_model, dtype=dtype)
    for new, depth, tokens in ((0, 0, 20), (1, 0, 20), (6, 0, 25), (6, 9, 25)):
        with under_way(backend, Workload(rows(batch, 20), new, depth), runs=2):
            found = held(backend)
        layers, heads, head_dim = 4, 2, 64
        assert found["kv cache room"] == batch * tokens
        assert found["kv cache"] == 2 * layers * heads * head_dim * size * batch * tokens
        assert "state" not in found


def test_a_window_caps_the_cache(opened: Opened) -> None:
    each = 2 * 2 * 8 * 4
    for new, kept in ((0, 20), (2, WINDOW), (6, WINDOW)):
        # transformers keeps a view of the window: after a prefill alone, of the whole prompt
        with under_way(opened("mistral"), Workload(rows(2, 20), new)):
            assert held(opened("mistral"))["kv cache"] == 3 * each * 2 * kept
    with under_way(opened("gemma2"), Workload(rows(2, 20), 6)):
        assert held(opened("gemma2"))["kv cache"] == each * 2 * (WINDOW + 25)
        assert held(opened("gemma2"))["kv cache room"] == 2 * 25


@pytest.mark.parametrize(
    ("kind", "right"),
    # two layers: Mamba's convolution and scan over 64 channels, of 4 each; RWKV's five vectors of 32
    [("mamba", 2 * 64 * (4 + 4) * 4), ("rwkv", 2 * 5 * 32 * 4)],
)
def test_a_state_is_as_large_after_many_tokens_as_after_few(opened: Opened, kind: str, right: int) -> None:
    for length in (10, 30):
        with under_way(opened(kind), Workload(rows(1, length), 3)):
            found = held(opened(kind))
        assert found["state"] == right
        assert "kv cache" not in found


def test_a_state_that_lies_in_the_models_own_modules_is_not_told(opened: Opened) -> None:
    with under_way(opened("recurrent_gemma"), Workload(rows(1, 20), 3)):
        found = held(opened("recurrent_gemma"))
    # of three layers one has a window
    assert found["kv cache"] == 2 * WINDOW * 2 * 8 * 4
    assert "state" not in found


def test_workloads_under_way_at_once_are_added_up(opened: Opened) -> None:
    backend = opened("llama")
    with under_way(backend, Workload(rows(1, 10))):
        alone = held(backend)
        with under_way(backend, Workload(rows(2, 20))):
            assert held(backend)["kv cache room"] == 50
            assert held(backend)["kv cache"] == 5 * alone["kv cache"]
        assert held(backend) == alone


def test_on_a_cpu_no_device_is_asked(opened: Opened) -> None:
    assert not held(opened("llama")).keys() & {"active", "peak"}
