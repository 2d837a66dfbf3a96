"""The reference backend against transformers, against itself in any order, and against damaged models."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import TINY_LLAMA, TINY_QWEN2, random_tensors, write_model
from safetensors.numpy import load_file, save_file

from slmeval.errors import JobFailed, ModelError
from slmeval.types import GenerationSettings, Likelihood, ModelRef, Prompt, ScoreGroup, TokenIds
from slmeval_reference import ReferenceBackend, slmeval_register_backends

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
OLD_LLAMA = {key: value for key, value in TINY_LLAMA.items() if key not in ("rope_parameters", "head_dim")}

SHAPES: dict[str, dict[str, Any]] = {
    "grouped heads, head of its own": TINY_LLAMA,
    "tied head": TINY_LLAMA | {"tie_word_embeddings": True},
    "a key-value head for each head": TINY_LLAMA | {"num_key_value_heads": 4, "head_dim": None},
    "one key-value head": TINY_LLAMA | {"num_key_value_heads": 1},
    "biases everywhere": TINY_LLAMA | {"attention_bias": True, "mlp_bias": True},
    "llama3 rope": TINY_LLAMA | {"rope_parameters": LLAMA3},
    "llama3 rope, older config": OLD_LLAMA | {"rope_theta": 500.0, "rope_scaling": LLAMA3},
    "linear rope": TINY_LLAMA
    | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e3, "factor": 4.0}},
    "linear rope, oldest config": OLD_LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "qwen2": TINY_QWEN2,
    "mistral": TINY_LLAMA
    | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None},
}


def open_model(folder: Path) -> ReferenceBackend:
    return ReferenceBackend(ModelRef(str(folder)), {"threads": 1})


def some_ids(count: int, seed: int = 0, vocabulary: int = 96) -> TokenIds:
    return tuple(np.random.default_rng(seed).integers(0, vocabulary, count).tolist())


class Judge:
    """transformers in float64.

    It casts norms and rotary tables to float32 whatever dtype a model has, which alone moves
    log-probabilities by 1e-6; here those casts keep float64, and the code that is run stays theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.torch = pytest.importorskip("torch")
        self.transformers = pytest.importorskip("transformers")
        self.model = self.transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=self.torch.float64)
        self.model.eval()
        with self.no_float32():
            self.model.model.rotary_emb = type(self.model.model.rotary_emb)(self.model.config)

    @contextmanager
    def no_float32(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.torch, "float32", self.torch.float64)
            patch.setattr(self.torch, "float", self.torch.float64)
            patch.setattr(self.torch.Tensor, "float", self.torch.Tensor.double)
            yield

    def logprobs(self, ids: TokenIds) -> np.ndarray:
        with self.torch.no_grad(), self.no_float32():
            logits = self.model(self.torch.tensor([ids])).logits[0]
            assert logits.dtype == self.torch.float64
            return logits.log_softmax(-1).numpy()

    def likelihood(self, context: TokenIds, continuation: TokenIds) -> Likelihood:
        rows = self.logprobs(context + continuation)[len(context) - 1 : -1]
        best = rows.argmax(-1) == continuation
        return Likelihood(tuple(rows[np.arange(len(rows)), continuation].tolist()), bool(best.all()))

    def complete(self, ids: TokenIds, count: int) -> TokenIds:
        with self.no_float32():
            out = self.model.generate(
                self.torch.tensor([ids]),
                attention_mask=self.torch.ones(1, len(ids), dtype=self.torch.long),
                generation_config=self.transformers.GenerationConfig(
                    do_sample=False, max_new_tokens=count, pad_token_id=0
                ),
            )
        return tuple(out[0, len(ids) :].tolist())


def assert_same(left: Sequence[Likelihood], right: Sequence[Likelihood], within: float) -> None:
    assert [likelihood.greedy for likelihood in left] == [likelihood.greedy for likelihood in right]
    for one, other in zip(left, right, strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, rel=0, abs=within)


# ---- against transformers --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_log_probabilities_are_those_of_transformers_in_float64(
    tmp_path: Path, shape: dict[str, Any]
) -> None:
    folder = write_model(tmp_path, shape, seed=1)
    judge, context = Judge(folder), some_ids(40, 2)
    best = judge.complete(context, 3)
    continuations = (some_ids(1, 3), some_ids(24, 4), best, (*best[:2], (best[2] + 1) % 96), some_ids(7, 5))
    (answers,) = open_model(folder).score([ScoreGroup(context, continuations)])
    assert_same(answers, [judge.likelihood(context, ids) for ids in continuations], within=1e-9)
    assert [answer.greedy for answer in answers[2:4]] == [True, False]


def test_rope_stretching_changes_the_numbers(tmp_path: Path) -> None:
    # else the test above would pass on an engine that ignores it
    group = [ScoreGroup(some_ids(40), (some_ids(5, 1),))]
    shapes = ("grouped heads, head of its own", "llama3 rope", "linear rope")
    found = {
        next(open_model(write_model(tmp_path / str(at), SHAPES[name])).score(group))[0].logprob
        for at, name in enumerate(shapes)
    }
    assert len(found) == 3


def test_transformers_as_it_stands_differs_by_its_float32_casts_alone(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA, seed=1)
    judge, ids = Judge(folder), some_ids(60, 2)
    as_it_stands = judge.transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=judge.torch.float64)
    with judge.torch.no_grad():
        rows = as_it_stands(judge.torch.tensor([ids])).logits[0].log_softmax(-1).numpy()
    ((answer,),) = open_model(folder).score([ScoreGroup(ids[:1], (ids[1:],))])
    assert answer.token_logprobs == pytest.approx(rows[np.arange(59), ids[1:]], rel=0, abs=1e-4)


def test_texts_longer_than_what_is_run_at_once_are_those_of_transformers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA | {"max_position_embeddings": 1024}, seed=3)
    context = some_ids(600, 1)
    continuations = tuple(some_ids(count, count) for count in (300, 100, 100, 100, 1, 257))
    (answers,) = open_model(folder).score([ScoreGroup(context, continuations)])
    judge = Judge(folder)
    assert_same(answers, [judge.likelihood(context, ids) for ids in continuations], within=1e-9)


def test_greedy_text_is_that_of_transformers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, SHAPES["llama3 rope"], seed=5)
    prompts = [some_ids(12, seed) for seed in range(3)]
    found = list(open_model(folder).generate([Prompt(ids) for ids in prompts], GenerationSettings(20), str))
    judge = Judge(folder)
    assert [completion.ids for completion in found] == [judge.complete(ids, 20) for ids in prompts]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_weights_of_each_dtype_are_read_exactly(tmp_path: Path, dtype: str) -> None:
    folder = write_model(tmp_path, TINY_LLAMA | {"dtype": dtype}, seed=2)
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    tensors = {
        name: torch.tensor(array).to(getattr(torch, dtype))
        for name, array in random_tensors(TINY_LLAMA, 2).items()
    }
    save_torch(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    context, continuation = some_ids(20, 1), some_ids(9, 2)
    (answers,) = open_model(folder).score([ScoreGroup(context, (continuation,))])
    assert_same(answers, [Judge(folder).likelihood(context, continuation)], within=1e-9)


def test_gates_beyond_the_range_of_the_exponential_are_those_of_transformers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.gate_proj.weight"] *= 1000
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    context, continuation = some_ids(20, 1), some_ids(9, 2)
    (answers,) = open_model(folder).score([ScoreGroup(context, (continuation,))])
    assert_same(answers, [Judge(folder).likelihood(context, continuation)], within=1e-9)


def test_a_model_in_shards_gives_the_same_bits_as_in_one_file(tmp_path: Path) -> None:
    group = [ScoreGroup(some_ids(20), (some_ids(5, 1),))]
    whole, shards = (
        open_model(write_model(tmp_path / str(count), TINY_LLAMA, shards=count)) for count in (0, 3)
    )
    assert list(whole.score(group)) == list(shards.score(group))
    assert whole.model_info() == shards.model_info()


# ---- against itself: alone, shared, together, in any order ------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ReferenceBackend:
    return open_model(write_model(tmp_path_factory.mktemp("tiny"), TINY_LLAMA, seed=7))


def with_hints(groups: Sequence[ScoreGroup]) -> list[ScoreGroup]:
    """The same groups, each saying how much it shares with the one before it."""
    before: TokenIds = ()
    hinted = []
    for group in groups:
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(before, group.context, strict=False))
        hinted.append(ScoreGroup(group.context, group.continuations, len(list(alike))))
        before = group.context
    return hinted


# few distinct tokens, so that contexts often share a beginning
few_ids = st.lists(st.integers(0, 2), max_size=9).map(tuple)
random_group = st.builds(
    ScoreGroup,
    context=few_ids.filter(len),
    continuations=st.lists(few_ids, max_size=4).map(tuple),
    shared=st.integers(0, 12),
)
random_groups = st.lists(random_group, max_size=6)


@given(groups=random_groups, order=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_alone_shared_together_or_in_any_order_the_answers_agree(
    tiny: ReferenceBackend, groups: list[ScoreGroup], order: random.Random
) -> None:
    order.shuffle(groups)
    # the hints drawn at random are mostly wrong, which must cost nothing but time
    for asked in (sorted(groups, key=lambda group: group.context), groups):
        for answers, group in zip(tiny.score(with_hints(asked)), asked, strict=True):
            assert_same(answers, alone(tiny, group), within=1e-12)
        for answers, group in zip(tiny.score(asked), asked, strict=True):
            assert_same(answers, alone(tiny, group), within=1e-12)


def alone(backend: ReferenceBackend, group: ScoreGroup) -> list[Likelihood]:
    return [
        next(backend.score([ScoreGroup(group.context, (continuation,))]))[0]
        for continuation in group.continuations
    ]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each pass through the model: how many tokens were run, and how many were in the cache with them."""
    from slmeval_reference.model import Model

    seen: list[tuple[int, int]] = []
    forward = Model.forward

    def watched(model: Model, tokens: Any, cache: Any) -> Any:
        seen.append(tokens.visible.shape)
        return forward(model, tokens, cache)

    monkeypatch.setattr(Model, "forward", watched)
    return seen


def test_shared_tokens_are_not_run_again(tiny: ReferenceBackend, runs: list[tuple[int, int]]) -> None:
    shots = some_ids(30)
    groups = [ScoreGroup((*shots, 1, 2), ((3, 4, 5), (6,))), ScoreGroup((*shots, 7), ((8,), (9,)), 30)]
    list(tiny.score(groups))
    # the context, the first choice but for its last token, and the one token that is new
    assert runs == [(32, 32), (2, 34), (1, 31)]
    runs.clear()
    list(tiny.generate([Prompt(shots), Prompt((*shots, 1), 30)], GenerationSettings(3), str))
    assert runs == [(30, 30), (1, 31), (1, 32), (1, 31), (1, 32), (1, 33)]


def test_equal_choices_are_run_once_and_equal_to_the_last_bit(
    tiny: ReferenceBackend, runs: list[tuple[int, int]]
) -> None:
    choice = some_ids(6, 1)
    (answers,) = tiny.score([ScoreGroup(some_ids(20), (choice, some_ids(4, 2), choice))])
    assert answers[0] == answers[2]
    assert runs == [(20, 20), (8, 28)]


def test_many_choices_are_run_in_packs_that_bound_the_memory(
    tiny: ReferenceBackend, runs: list[tuple[int, int]]
) -> None:
    choices = tuple(some_ids(50, seed) for seed in range(7))
    (answers,) = tiny.score([ScoreGroup((1, 2), choices)])
    assert runs == [(2, 2), (5 * 49, 2 + 5 * 49), (2 * 49, 2 + 2 * 49)]
    assert_same(answers, alone(tiny, ScoreGroup((1, 2), choices)), within=1e-12)


def test_logits_in_small_chunks_give_the_same(
    tiny: ReferenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [ScoreGroup(some_ids(20), (some_ids(11, 1), some_ids(4, 2)))]
    (whole,) = tiny.score(groups)
    monkeypatch.setattr("slmeval_reference.engine.LOGITS_AT_ONCE", 3 * 96)
    (chunked,) = tiny.score(groups)
    assert_same(whole, chunked, within=1e-12)


def test_the_same_call_gives_the_same_bits(tiny: ReferenceBackend) -> None:
    groups = with_hints(
        [ScoreGroup(some_ids(30)[: 10 + at], (some_ids(3, at), some_ids(5, at))) for at in range(9)]
    )
    assert list(tiny.score(groups)) == list(tiny.score(groups))


def test_an_empty_continuation_is_certain(tiny: ReferenceBackend) -> None:
    (answers,) = tiny.score([ScoreGroup((1, 2), ((), (3,), ()))])
    assert answers[0] == answers[2] == Likelihood((), True)
    assert answers[0].logprob == 0.0
    assert len(answers[1].token_logprobs) == 1


def test_probabilities_of_all_tokens_add_up_to_one(tiny: ReferenceBackend) -> None:
    (answers,) = tiny.score([ScoreGroup(some_ids(9), tuple((token,) for token in range(96)))])
    assert sum(np.exp(answer.logprob) for answer in answers) == pytest.approx(1.0, abs=1e-12)
    assert sum(answer.greedy for answer in answers) == 1


def test_the_likeliest_next_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA, seed=1)
    ids = some_ids(40, 2)
    found = list(open_model(folder).top_logprobs(ids, 5))
    rows = Judge(folder).logprobs(ids)
    best = np.argsort(-rows, axis=-1)[:, :5]
    assert [each.ids for each in found] == [tuple(row) for row in best.tolist()]
    for each, row, order in zip(found, rows, best, strict=True):
        assert each.logprobs == pytest.approx(row[order], rel=0, abs=1e-9)


def test_the_likeliest_of_the_whole_vocabulary_are_a_distribution(tiny: ReferenceBackend) -> None:
    ids = some_ids(7)
    found = list(tiny.top_logprobs(ids, 96))
    assert len(found) == len(ids)
    for each in found:
        assert sorted(each.ids) == list(range(96))
        assert list(each.logprobs) == sorted(each.logprobs, reverse=True)
        assert sum(map(np.exp, each.logprobs)) == pytest.approx(1.0, abs=1e-12)
    ((answer,),) = tiny.score([ScoreGroup(ids, (found[-1].ids[:1],))])
    assert answer.greedy
    assert answer.logprob == pytest.approx(found[-1].logprobs[0], abs=1e-12)


@pytest.mark.parametrize(("ids", "k"), [((), 1), ((1,), 0), ((1,), 97), ((96,), 1), ((1,) * 65, 1)])
def test_the_likeliest_tokens_of_what_does_not_fit_are_refused(
    tiny: ReferenceBackend, ids: TokenIds, k: int
) -> None:
    with pytest.raises(ValueError, match=r"token"):
        list(tiny.top_logprobs(ids, k))


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (ScoreGroup((), ((1,),)), "at least one"),
        (ScoreGroup(some_ids(60), ((1,), some_ids(6))), "65 tokens do not fit the model.s context of 64"),
        (ScoreGroup(some_ids(65), ()), "65 tokens do not fit the model.s context of 64"),
        (ScoreGroup((1, 96), ()), "token id 96 is not in .* 96"),
        (ScoreGroup((1,), ((2,), (3, -1))), "token id -1 is not in"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    tiny: ReferenceBackend, group: ScoreGroup, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(tiny.score([group]))


def test_a_request_that_just_fits_is_answered(tiny: ReferenceBackend) -> None:
    # the last token of a continuation is predicted and never run, so it may lie one beyond the context
    (answers,) = tiny.score([ScoreGroup(some_ids(60), (some_ids(5, 1),))])
    assert len(answers[0].token_logprobs) == 5


# ---- writing ---------------------------------------------------------------------------------------


def letters(ids: Sequence[int]) -> str:
    """One letter to each token, so that any stop string of two spans tokens."""
    return "".join(chr(ord("a") + token) for token in ids)


def complete(backend: ReferenceBackend, ids: TokenIds, how: GenerationSettings) -> Any:
    return next(backend.generate([Prompt(ids)], how, letters))


def test_a_text_ends_at_its_cap(tiny: ReferenceBackend) -> None:
    for cap in (0, 1, 5):
        completion = complete(tiny, some_ids(9), GenerationSettings(cap))
        assert (len(completion.ids), completion.reason) == (cap, "length")
        assert completion.text == letters(completion.ids)


def test_a_text_ends_at_a_stop_string_that_spans_tokens(tiny: ReferenceBackend) -> None:
    full = complete(tiny, some_ids(9), GenerationSettings(12))
    stop = full.text[4:7]
    cut = full.text.index(stop)
    completion = complete(tiny, some_ids(9), GenerationSettings(12, stop=("\0", stop)))
    assert (completion.text, completion.reason) == (full.text[:cut], "stop")
    assert completion.ids == full.ids[: cut + 3]


def test_a_text_ends_at_an_end_token(tiny: ReferenceBackend) -> None:
    full = complete(tiny, some_ids(9), GenerationSettings(12))
    end = full.ids[5]
    completion = complete(tiny, some_ids(9), GenerationSettings(12, end_ids=(end,)))
    assert completion.reason == "end"
    assert completion.ids == full.ids[: full.ids.index(end) + 1]


@pytest.mark.parametrize("length", [64, 63, 60])
def test_a_text_ends_where_the_context_is_full(tiny: ReferenceBackend, length: int) -> None:
    completion = complete(tiny, some_ids(length), GenerationSettings(12))
    assert (len(completion.ids), completion.reason) == (64 - length, "length")


@pytest.mark.parametrize("ids", [(), some_ids(65), (96,)])
def test_a_prompt_that_does_not_fit_is_refused(tiny: ReferenceBackend, ids: TokenIds) -> None:
    with pytest.raises(ValueError, match=r"at least one|65 tokens|token id 96"):
        complete(tiny, ids, GenerationSettings(1))


def test_shared_prompts_are_completed_as_alone(tiny: ReferenceBackend) -> None:
    shots, how = some_ids(20), GenerationSettings(8)
    prompts = [Prompt(shots), Prompt((*shots, 1), 20), Prompt((*shots, 1), 21), Prompt((*shots, 2, 3), 20)]
    together = list(tiny.generate(prompts, how, letters))
    assert together == [complete(tiny, prompt.ids, how) for prompt in prompts]


def test_of_equally_likely_tokens_the_lowest_id_is_written(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][:] = 0
    save_file(tensors, folder / "model.safetensors")
    backend = open_model(folder)
    assert complete(backend, (5,), GenerationSettings(3)).ids == (0, 0, 0)
    (answers,) = backend.score([ScoreGroup((5,), ((0,), (1,)))])
    assert [answer.greedy for answer in answers] == [True, False]
    assert answers[1].logprob == pytest.approx(-np.log(96), abs=1e-15)


# ---- what it says of itself ------------------------------------------------------------------------


def test_model_info_counts_a_tied_head_once(tmp_path: Path) -> None:
    tied = TINY_LLAMA | {"tie_word_embeddings": True}
    folder = write_model(tmp_path, tied)
    info = open_model(folder).model_info()
    own = sum(array.size for array in random_tensors(tied).values())
    assert (info.parameters, info.parameters_stored) == (own, own)

    tensors = load_file(folder / "model.safetensors")
    save_file(
        tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, folder / "model.safetensors"
    )
    stored_twice = open_model(folder).model_info()
    assert (stored_twice.parameters, stored_twice.parameters_stored) == (own, own + 96 * 32)


def test_model_info_names_the_model_and_the_engine(tiny: ReferenceBackend) -> None:
    info = tiny.model_info()
    assert (info.architecture, info.dtype, info.device) == ("LlamaForCausalLM", "float64", "cpu")
    assert (info.context, info.vocabulary, info.engine) == (64, 96, "reference")
    assert np.__version__ in info.engine_version


def test_the_fingerprint_holds_the_versions_of_engine_and_numpy() -> None:
    from slmeval import __version__

    fingerprint = ReferenceBackend.fingerprint({"threads": 1})
    version = f"{__version__} (numpy {np.__version__})"
    assert fingerprint == {"engine": "reference", "version": version, "threads": 1}


def test_the_threads_are_limited_while_the_model_is_open(tmp_path: Path) -> None:
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    backend = ReferenceBackend(ModelRef(str(write_model(tmp_path, TINY_LLAMA))), {"threads": 1})
    assert threads() == {1}
    backend.close()
    assert threads() == before


def test_the_plugin_brings_one_backend_and_imports_no_numpy() -> None:
    assert list(slmeval_register_backends()) == [ReferenceBackend]
    assert ReferenceBackend.missing() is None
    code = (
        "import sys, slmeval_reference as plugin; plugin.ReferenceBackend.fingerprint({'threads': 1}); "
        "sys.exit('numpy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# ---- models that are refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, r"no 'gpt2' models, only llama, mistral, qwen2"),
        ({"model_type": None}, r"has no 'model_type'"),
        ({"hidden_size": None}, r"has no 'hidden_size'"),
        ({"hidden_size": "32"}, r"'hidden_size' is \"32\", not a whole number"),
        ({"num_hidden_layers": 0}, r"'num_hidden_layers' is 0, not a whole number above zero"),
        ({"num_attention_heads": True}, r"'num_attention_heads' is true, not a whole number"),
        ({"rms_norm_eps": float("nan")}, r"'rms_norm_eps' is nan, not a number above zero"),
        ({"tie_word_embeddings": 1}, r"'tie_word_embeddings' is 1, not true or false"),
        ({"num_key_value_heads": 3}, r"4 heads cannot share 3 key-value heads"),
        ({"head_dim": 7}, r"heads of 7 cannot be rotated"),
        ({"hidden_act": "gelu"}, r"does not compute hidden_act \"gelu\""),
        ({"quantization_config": {"bits": 4}}, r"does not compute quantization_config"),
        ({"partial_rotary_factor": 0.5}, r"does not compute partial_rotary_factor 0.5"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, r"layer_types \"sliding_attention\""),
        ({"rope_parameters": {"rope_type": "yarn"}}, r"does not compute rope_type \"yarn\""),
        ({"rope_parameters": {"rope_type": "llama3"}}, r"rope_parameters has no 'low_freq_factor'"),
        ({"rope_parameters": LLAMA3 | {"low_freq_factor": 4.0}}, r"4.0 is not below high_freq_factor 4.0"),
        ({"rope_parameters": "llama3"}, r"'rope_parameters' is \"llama3\", not an object"),
        ({"rope_scaling": {"type": "linear"}}, r"rope_scaling has no 'factor'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, r"does not compute rope_type \"dynamic\""),
        ({"model_type": "qwen2", "use_sliding_window": True}, r"does not compute use_sliding_window true"),
        ({"model_type": "qwen2", "num_key_value_heads": None}, r"has no 'num_key_value_heads'"),
        ({"model_type": "mistral", "sliding_window": 32}, r"does not compute sliding_window 32"),
        ({"model_type": "mistral", "max_position_embeddings": 8192}, r"not compute sliding_window 4096"),
        ({"model_type": "mistral", "sliding_window": "none"}, r"'sliding_window' is \"none\", not a whole"),
        ({"architectures": "LlamaForCausalLM"}, r"'architectures' is \"LlamaForCausalLM\", not a list"),
        ({"layer_types": [0]}, r"layer_types: 'item' is 0, not a text"),
        ({"num_hidden_layers": 3}, r"has no tensor model.layers.2.input_layernorm.weight"),
        ({"num_hidden_layers": 1}, r"gives no place to tensor model.layers.1.input_layernorm.weight"),
        ({"attention_bias": True}, r"has no tensor model.layers.0.self_attn.q_proj.bias"),
        ({"vocab_size": 95}, r"embed_tokens.weight has the shape \[96, 32\], .* asks for \[95, 32\]"),
        ({"tie_word_embeddings": True}, r"lm_head.weight is not the embedding, though"),
    ],
    ids=str,
)
def test_a_config_that_is_not_computed_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    (folder / "config.json").write_text(json.dumps(TINY_LLAMA | changes))
    with pytest.raises(ModelError, match=message) as caught:
        open_model(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    new = json.dumps(change(header) or header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])


def change_norm(**entry: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        rewrite_header(folder / "model.safetensors", lambda header: header["model.norm.weight"].update(entry))

    return damage


WHOLE_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        "config.json cannot be read: No such file",
    ),
    "half a config": (
        lambda folder: cut(folder / "config.json", 99),
        "config.json is damaged: it is not JSON",
    ),
    "binary config": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
        "config.json is damaged: it is not JSON",
    ),
    "a list as config": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "config.json is damaged: it holds no JSON object",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "holds neither model.safetensors nor model.safetensors.index.json",
    ),
    "an empty file": (lambda folder: cut(folder / "model.safetensors", 0), "model.safetensors is truncated"),
    "half a header": (lambda folder: cut(folder / "model.safetensors", 99), "model.safetensors is truncated"),
    "half the weights": (
        lambda folder: cut(folder / "model.safetensors", 40_000),
        r"model.safetensors is truncated: .* ends at byte \d+, the file at 40000",
    ),
    "not safetensors": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"no" + bytes(9)),
        "model.safetensors is damaged: its header",
    ),
    "a header that is a list": (
        lambda folder: rewrite_header(folder / "model.safetensors", lambda _: [1]),
        "model.safetensors is damaged: its header",
    ),
    "a tensor without place": (
        change_norm(data_offsets=None),
        "model.safetensors is damaged: its header does not describe model.norm.weight",
    ),
    "a place before the weights": (
        change_norm(data_offsets=[-999, 0]),
        "model.safetensors is damaged: its header lets model.norm.weight begin at byte -999",
    ),
    "too few bytes": (change_norm(data_offsets=[0, 4]), "damaged: model.norm.weight has not the bytes"),
    "another dtype": (change_norm(dtype="F8_E4M3"), "model.norm.weight is F8_E4M3, not one of F64"),
    "another shape": (change_norm(shape=[31]), r"norm.weight has the shape \[31\], .* asks for \[32\]"),
}
SHARD_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (
        lambda folder: (folder / "model-00002-of-00002.safetensors").unlink(),
        "model-00002-of-00002.safetensors cannot be read: No such file",
    ),
    "a shard is cut": (
        lambda folder: cut(folder / "model-00001-of-00002.safetensors", 30_000),
        "model-00001-of-00002.safetensors is truncated",
    ),
    "the index promises too much": (
        lambda folder: rewrite_header(
            folder / "model-00001-of-00002.safetensors",
            lambda header: header.pop("model.embed_tokens.weight") and None,
        ),
        "model-00001-of-00002.safetensors has no tensor model.embed_tokens.weight, which .*index.json",
    ),
    "an index of numbers": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": 1}}'),
        "index.json, weight_map: 'a' is 1, not a text",
    ),
    "an empty index": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
        "has no tensor model.embed_tokens.weight, which its config.json asks for",
    ),
}


@pytest.mark.parametrize(
    ("shards", "damage", "message"),
    [
        *((0, *case) for case in WHOLE_DAMAGE.values()),
        *((2, *case) for case in SHARD_DAMAGE.values()),
    ],
    ids=[*WHOLE_DAMAGE, *SHARD_DAMAGE],
)
def test_a_damaged_model_is_refused_by_the_name_of_its_file(
    tmp_path: Path, shards: int, damage: Callable[[Path], object], message: str
) -> None:
    folder = write_model(tmp_path, TINY_LLAMA, shards=shards)
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_no_folder_is_refused() -> None:
    with pytest.raises(ModelError, match="org/some-model@main is not a folder here"):
        ReferenceBackend(ModelRef("org/some-model", "main"), {"threads": 1})


def test_tables_of_rotary_frequencies_in_old_files_are_passed_over(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    tensors = load_file(folder / "model.safetensors")
    table = np.ones(6, np.float32)
    save_file(tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": table}, folder / "model.safetensors")
    assert open_model(folder).model_info().context == 64


def test_a_random_model_depends_on_shape_and_seed_alone(tmp_path: Path) -> None:
    one, two, other = (
        (write_model(tmp_path / name, TINY_LLAMA, seed=seed) / "model.safetensors").read_bytes()
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one == two
    assert one != other


def test_a_tokenizer_is_copied_beside_a_random_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = write_model(tmp_path / "model", TINY_LLAMA, tokenizer=tmp_path / "tokenizer.json")
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_a_model_whose_weights_are_no_numbers_writes_no_text(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", TINY_LLAMA)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(JobFailed, match="logits are not numbers"):
        list(open_model(folder).generate([Prompt((1, 2))], GenerationSettings(4), letters))
