"""The MLX backend against the oracle and transformers, and mlx-lm's converter."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from random_models import TINY_LLAMA, TINY_QWEN2, random_tensors, write_model
from safetensors.numpy import load_file, save_file

from slmeval.errors import JobFailed, ModelError
from slmeval.testing import evaluate
from slmeval.testing.answers import answers, predictions
from slmeval.tokenizing import FastTokenizer
from slmeval.types import GenerationSettings, Likelihood, ModelRef, Prompt, RunOptions, ScoreGroup, TokenIds
from slmeval_mlx import MLXBackend, MLXConverter
from slmeval_reference import ReferenceBackend

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed")

Open = Callable[..., MLXBackend]

TEXT = "Anna lives in a small house near the river. Her brother has a red boat and a"
#: what a random model of 96 tokens is asked: several groups with a common beginning, one of a single token
GROUPS = (
    ScoreGroup((5, 17, 3, 88, 41, 2), ((9,), (9, 11, 60, 4), (7, 7), ())),
    ScoreGroup((5, 17, 3, 88, 9), ((1, 2, 3), (9,), (1, 2, 4)), shared=4),
    ScoreGroup((30,), ((5, 17, 3, 88, 41, 2, 9, 11),)),
)


def opened(folder: Path | ModelRef, **options: Any) -> MLXBackend:
    ref = folder if isinstance(folder, ModelRef) else ModelRef(str(folder))
    known = {option.name: option.default for option in MLXBackend.options}
    return MLXBackend(ref, {**known, **options})


def oracle_of(folder: Path | ModelRef) -> ReferenceBackend:
    return ReferenceBackend(ModelRef(str(getattr(folder, "location", folder))), {"threads": 1})


@pytest.fixture(scope="module")
def demo(demo_model: Path) -> Iterator[MLXBackend]:
    backend = opened(demo_model, dtype="float32")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def oracle(demo_model: Path) -> Iterator[ReferenceBackend]:
    backend = oracle_of(demo_model)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def tokenizer(demo_model: Path) -> FastTokenizer:
    return FastTokenizer((demo_model / "tokenizer.json").read_text(), "the demo model", 1, 2)


@pytest.fixture(scope="module")
def text(tokenizer: FastTokenizer) -> TokenIds:
    return tokenizer.encode(TEXT)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"), TINY_LLAMA, seed=3)


@pytest.fixture(scope="module")
def four_bit(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("four-bit")
    return MLXConverter().convert(ModelRef(str(demo_model)), "4bit", str(folder))


def flat(replies: Any) -> list[float]:
    return [logprob for group in replies for reply in group for logprob in reply.token_logprobs]


def far(one: Any, other: Any) -> float:
    """The largest difference in a token's log-probability."""
    return max(abs(left - right) for left, right in zip(flat(one), flat(other), strict=True))


# ---- likelihoods -----------------------------------------------------------------------------------


def test_it_agrees_with_the_oracle_on_the_bundled_rows(tmp_path: Path) -> None:
    options = RunOptions(
        backends=("reference", "mlx"), tasks=("arc", "hellaswag"), limit=16, dtype="float32", sample=True
    )
    result = evaluate(options, tmp_path / "store.db")
    assert result.status == "done", result.failures
    half = len(result.cells) // 2
    for number in range(half):
        exact, found = (answers(tmp_path / "store.db", result.id, at) for at in (number, number + half))
        assert len(found) == 16
        assert predictions(found) == predictions(exact)
        pairs = [pair for row in exact for pair in zip(exact[row], found[row], strict=True)]
        assert max(abs(one.logprob - other.logprob) for one, other in pairs) < 1e-3
        assert all(one.greedy == other.greedy for one, other in pairs)


@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN2], ids=["llama", "qwen2"])
def test_random_models_come_out_as_the_oracle_computes_them(shape: dict[str, Any], tmp_path: Path) -> None:
    folder = write_model(tmp_path, shape, seed=5)
    found, exact = list(opened(folder).score(GROUPS)), list(oracle_of(folder).score(GROUPS))
    assert far(found, exact) < 1e-4
    assert [[reply.greedy for reply in group] for group in found] == [
        [reply.greedy for reply in group] for group in exact
    ]


def test_a_rotary_base_that_transformers_5_nests_is_read(tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 300.0}
    folder = write_model(tmp_path, {**TINY_LLAMA, "rope_parameters": rope}, seed=5)
    assert far(opened(folder).score(GROUPS), oracle_of(folder).score(GROUPS)) < 1e-4


def test_a_stretched_rotary_embedding_that_transformers_5_nests_is_read(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 300.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    folder = write_model(tmp_path, {**TINY_LLAMA, "rope_parameters": rope}, seed=5)
    assert far(opened(folder).score(GROUPS), oracle_of(folder).score(GROUPS)) < 1e-4


def test_a_head_that_is_stored_is_used_where_the_config_is_silent(tmp_path: Path) -> None:
    shape = {name: value for name, value in TINY_LLAMA.items() if name != "tie_word_embeddings"}
    folder = write_model(tmp_path, shape, seed=5)
    assert far(opened(folder).score(GROUPS), oracle_of(folder).score(GROUPS)) < 1e-4


def test_an_empty_continuation_is_certain(demo: MLXBackend) -> None:
    (((empty, _),),) = [list(demo.score([ScoreGroup((5, 6), ((), (7,)))]))]
    assert empty == Likelihood((), True)
    assert list(demo.score([ScoreGroup((5, 6), ())])) == [()]


def test_alone_together_and_in_any_order_the_answers_are_the_same(tiny: Path) -> None:
    backend = opened(tiny)
    together = list(backend.score(GROUPS))
    alone = [
        tuple(
            next(iter(backend.score([ScoreGroup(group.context, (tokens,))])))[0]
            for tokens in group.continuations
        )
        for group in GROUPS
    ]
    assert far(together, alone) < 1e-5
    assert far(together, list(backend.score(GROUPS[::-1]))[::-1]) < 1e-5
    # a wrong hint is none
    wrong = [ScoreGroup(group.context, group.continuations, shared=3) for group in GROUPS]
    assert list(backend.score(wrong)) == together


def test_the_same_call_gives_the_same_bits(demo: MLXBackend, text: TokenIds) -> None:
    groups = [ScoreGroup(text[:8], (text[8:], text[9:12])), ScoreGroup(text[:9], (text[9:],), shared=8)]
    first = list(demo.score(groups))
    list(demo.score([ScoreGroup(text[3:9], (text[:5],))]))
    assert list(demo.score(groups)) == first


def test_equal_continuations_come_out_equal(demo: MLXBackend, text: TokenIds) -> None:
    (replies,) = demo.score([ScoreGroup(text[:8], (text[8:], text[8:10], text[8:]))])
    assert replies[0] == replies[2]


def test_a_context_in_chunks_is_the_context_in_one(
    demo_model: Path, demo: MLXBackend, text: TokenIds
) -> None:
    groups = [ScoreGroup(text, (text[:9], text[4:6])), ScoreGroup((*text[:-2], 9), (text[:4],))]
    chunked = opened(demo_model, dtype="float32", prefill_step=5)
    assert far(demo.score(groups), chunked.score(groups)) < 1e-4


def test_small_batches_change_nothing_but_roundings(tiny: Path) -> None:
    assert far(opened(tiny).score(GROUPS), opened(tiny, batch_tokens=1).score(GROUPS)) < 1e-5


def test_one_at_a_time_from_copies_changes_nothing_but_roundings(tiny: Path) -> None:
    # as it is done where the cache is of another kind, or the trial at opening failed
    alone = opened(tiny)
    alone._engine._choice = None
    together = list(opened(tiny).score(GROUPS))
    assert far(together, alone.score(GROUPS)) < 1e-5
    alone._engine._passes.plain = False
    assert far(together, alone.score(GROUPS)) < 1e-5


def branching(groups: int, *, start: int, vocabulary: int, seed: int = 1) -> list[ScoreGroup]:
    """Questions that begin alike for ``start`` tokens, with continuations that begin alike by chance."""
    chance = random.Random(seed)

    def some(least: int, most: int) -> TokenIds:
        return tuple(chance.randrange(3, vocabulary) for _ in range(chance.randint(least, most)))

    trunk, made = some(start, start), list[ScoreGroup]()
    for _ in range(groups):
        first = some(1, 2)
        choices = (*(first + some(0, 5) for _ in range(3)), some(1, 1))
        made.append(ScoreGroup(trunk + some(1, 6), choices, shared=start if made else 0))
    return made


def test_a_call_in_many_passes_comes_out_as_the_oracle_computes_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmeval_mlx import engine

    groups = branching(12, start=20, vocabulary=96)
    exact = list(oracle_of(tiny).score(groups))
    for size in (1, 5, 64):
        monkeypatch.setattr(engine, "AT_ONCE", dict.fromkeys(("cpu", "gpu"), size))
        assert far(opened(tiny).score(groups), exact) < 1e-4


def test_groups_in_no_order_are_right(tiny: Path) -> None:
    groups = branching(12, start=20, vocabulary=96)
    random.Random(2).shuffle(groups)
    assert far(opened(tiny).score(groups), oracle_of(tiny).score(groups)) < 1e-4


def fed_by(backend: MLXBackend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of tokens of each pass."""
    fed: list[int] = []
    run = backend._engine._passes.run

    def counted(cache: list[Any], rows: Any) -> Any:
        fed.append(sum(map(len, rows)))
        return run(cache, rows)

    monkeypatch.setattr(backend._engine._passes, "run", counted)
    return fed


def test_no_token_is_run_twice(demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(demo_model, dtype="float32")
    fed = fed_by(backend, monkeypatch)
    groups = branching(9, start=300, vocabulary=2048)
    paths = [group.context + tokens[:-1] for group in groups for tokens in group.continuations]
    distinct = len({path[:end] for path in paths for end in range(1, len(path) + 1)})
    list(backend.score(groups))
    assert sum(fed) == distinct
    # the whole steps of what they begin with are there already
    list(backend.score(groups[:4]))
    paths = [group.context + tokens[:-1] for group in groups[:4] for tokens in group.continuations]
    again = len({path[:end] for path in paths for end in range(257, len(path) + 1)})
    assert sum(fed) == distinct + again


@pytest.mark.parametrize("kv_bits", [0, 8])
def test_what_is_kept_between_calls_changes_no_bit(demo_model: Path, kv_bits: int) -> None:
    groups = branching(5, start=300, vocabulary=2048)
    prompts = [Prompt(group.context) for group in groups]
    settings = GenerationSettings(max_tokens=5)
    first = list(opened(demo_model, dtype="float32", kv_bits=kv_bits).score(groups))
    backend = opened(demo_model, dtype="float32", kv_bits=kv_bits)
    texts = list(backend.generate(prompts, settings, str))
    list(backend.score([ScoreGroup(groups[0].context[:140] + (5,) * 260, ((7, 8),))]))
    assert list(backend.score(groups)) == first
    # a call that was left in its middle
    next(iter(backend.score(groups[::-1])))
    assert list(backend.score(groups)) == first
    assert list(backend.generate(prompts, settings, str)) == texts


def test_the_head_runs_where_it_is_asked(tiny: Path) -> None:
    engine = opened(tiny)._engine
    assert engine._choice is not None
    engine._choice.wanted = mx.array([1, 4])
    chosen = engine._passes.model(mx.array([[5, 17, 3, 88, 41]]))
    engine._choice.wanted = None
    whole = engine._passes.model(mx.array([[5, 17, 3, 88, 41]]))
    assert chosen.shape == (1, 2, 96)
    assert mx.allclose(chosen, whole[:, mx.array([1, 4])], atol=1e-5)


def test_a_text_as_long_as_the_context_is_scored(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slmeval_mlx import engine

    text = tuple((7 * at * at + 3) % 96 for at in range(65))
    groups = [ScoreGroup(text[:1], (text[1:],)), ScoreGroup(text[:60], (text[60:], text[61:]))]
    exact = list(oracle_of(tiny).score(groups))
    assert far(opened(tiny).score(groups), exact) < 1e-3
    # as if the vocabulary were so large that seven logits at a time fit
    monkeypatch.setattr(engine, "LOGITS", 7 * 96)
    assert far(opened(tiny).score(groups), exact) < 1e-3


def test_half_precision_is_near(demo_model: Path, oracle: ReferenceBackend, text: TokenIds) -> None:
    group = [ScoreGroup(text[:8], (text[8:],))]
    exact = list(oracle.score(group))
    half, brain = opened(demo_model), opened(demo_model, dtype="bfloat16")
    assert half.model_info().dtype == "float16"
    assert brain.model_info().dtype == "bfloat16"
    assert 0 < far(half.score(group), exact) < 0.1
    assert 0 < far(brain.score(group), exact) < 0.5


def test_quantized_keys_and_values_change_the_numbers_a_little(
    demo_model: Path, demo: MLXBackend, text: TokenIds
) -> None:
    groups = [ScoreGroup(text[:12], (text[12:], text[:4])), ScoreGroup(text[:13], (text[13:],), shared=12)]
    plain = list(demo.score(groups))
    eight = opened(demo_model, dtype="float32", kv_bits=8)
    assert 1e-5 < far(eight.score(groups), plain) < 0.3
    assert far(opened(demo_model, dtype="float32", kv_bits=4).score(groups), plain) < 3
    assert "8 bits (group 64)" in eight.notes()[0]
    # what is in the cache already is held as what comes new
    alone = [reply for group in groups for reply in eight.score([group])]
    assert far(eight.score(groups), alone) < 1e-2


def test_keys_that_cannot_be_quantized_are_a_clear_error(tiny: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be run: .*(multiple of|divisible)"):
        opened(tiny, kv_bits=8)


# ---- other architectures ---------------------------------------------------------------------------


def random_checkpoint(folder: Path, config: Any) -> Any:
    """A model of transformers with large random weights, saved in float32 and then taken to float64."""
    torch = pytest.importorskip("torch", reason="the Hugging Face engine is not installed")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    model.save_pretrained(folder)
    return model.double()


def plain_scores(model: Any, groups: tuple[ScoreGroup, ...]) -> list[tuple[Likelihood, ...]]:
    """Each sequence whole, in one pass of transformers."""
    import torch

    def one(context: TokenIds, tokens: TokenIds) -> Likelihood:
        with torch.inference_mode():
            rows = model(torch.tensor([context + tokens])).logits[0].log_softmax(-1)
        found = [rows[len(context) - 1 + at, token].item() for at, token in enumerate(tokens)]
        return Likelihood(tuple(found), greedy=False)

    return [tuple(one(group.context, tokens) for tokens in group.continuations) for group in groups]


def small(**fields: Any) -> dict[str, Any]:
    return {
        "vocab_size": 96,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
        **fields,
    }


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_gpt_neox_comes_out_as_transformers_computes_it(tmp_path: Path, activation: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    rope = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
    config = transformers.GPTNeoXConfig(**small(hidden_act=activation, rope_parameters=rope))
    model = random_checkpoint(tmp_path, config)
    backend = opened(tmp_path)
    assert far(backend.score(GROUPS), plain_scores(model, GROUPS)) < 1e-4
    assert backend.model_info().parameters == model.num_parameters()
    assert backend.notes() == ()
    assert backend._engine._choice is not None


def test_an_architecture_that_cannot_be_packed_takes_one_context_after_another(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    # its places are learnt, and mlx-lm counts them itself
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), 0)
    config = transformers.GPT2Config(vocab_size=96, initializer_range=0.3, **sizes, **ends)
    model = random_checkpoint(tmp_path, config)
    # mlx-lm knows the names that the published ones have
    damage(tmp_path, without_prefix)
    backend = opened(tmp_path)
    assert backend._engine._choice is None
    assert far(backend.score(GROUPS), plain_scores(model, GROUPS)) < 1e-4
    assert backend.notes() == ()


def test_a_window_that_rotates_is_right_and_said(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    config = transformers.Gemma3TextConfig(
        **small(num_hidden_layers=6, head_dim=16, query_pre_attn_scalar=16, sliding_window=8)
    )
    model = random_checkpoint(tmp_path, config)
    long = tuple((7 * at * at + 3) % 96 for at in range(40))
    groups = (*GROUPS, ScoreGroup(long[:20], (long[20:], long[3:6])), ScoreGroup(long[:22], (long[5:20],)))
    backend = opened(tmp_path, prefill_step=6)
    assert far(backend.score(groups), plain_scores(model, groups)) < 1e-4
    assert "RotatingKVCache can be neither cut off" in backend.notes()[0]
    with pytest.raises(ModelError, match="leave kv_bits at 0"):
        opened(tmp_path, kv_bits=8)


def test_a_state_that_is_no_cache_is_right(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the Hugging Face engine is not installed")
    config = transformers.MambaConfig(
        vocab_size=96, hidden_size=32, num_hidden_layers=2, initializer_range=0.3
    )
    model = random_checkpoint(tmp_path, config)
    backend = opened(tmp_path, prefill_step=2)
    assert far(backend.score(GROUPS), plain_scores(model, GROUPS)) < 1e-3
    prompts = [Prompt((5, 17, 3)), Prompt((5, 17, 3, 88)), Prompt((5, 9))]
    settings = GenerationSettings(max_tokens=6)
    together = list(backend.generate(prompts, settings, str))
    assert together == [next(iter(backend.generate([prompt], settings, str))) for prompt in prompts]


def test_a_sliding_window_that_mlx_lm_leaves_out_ends_the_job_where_it_would_count(tmp_path: Path) -> None:
    shape = {**TINY_LLAMA, "model_type": "mistral", "sliding_window": 8}
    backend = opened(write_model(tmp_path, shape, seed=2))
    text = tuple(range(20))
    assert len(next(iter(backend.score([ScoreGroup(text[:5], (text[5:9],))])))) == 1
    with pytest.raises(JobFailed, match="sliding window of 8"):
        list(backend.score([ScoreGroup(text[:5], (text[5:10],))]))


# ---- texts and distributions -----------------------------------------------------------------------


def test_greedy_texts_are_the_oracles(
    demo: MLXBackend, oracle: ReferenceBackend, tokenizer: FastTokenizer, text: TokenIds
) -> None:
    prompts = [Prompt(text), Prompt(text[:9], 9), Prompt((*text[:9], 70, 80), 9), Prompt(text[:1])]
    settings = GenerationSettings(max_tokens=24, stop=(".",), end_ids=(2,))
    found = list(demo.generate(prompts, settings, tokenizer.decode))
    assert found == list(oracle.generate(prompts, settings, tokenizer.decode))
    assert {completion.reason for completion in found} <= {"stop", "end", "length"}


def test_texts_written_together_are_those_written_alone(
    demo_model: Path, demo: MLXBackend, tokenizer: FastTokenizer
) -> None:
    groups = branching(14, start=150, vocabulary=2048)
    # long ones between short ones, more than are written at once
    prompts = [Prompt(group.context) for group in groups]
    prompts[3] = Prompt(prompts[3].ids + tuple(range(3, 300)))
    prompts[9] = Prompt(tokenizer.encode(TEXT))
    alone = opened(demo_model, dtype="float32")
    alone._engine._choice = None
    for settings in (GenerationSettings(max_tokens=30, stop=("e",), end_ids=(2,)), GenerationSettings(20)):
        for asked in (prompts, prompts[:3] + prompts[4:9], prompts[9:10]):
            found = list(demo.generate(asked, settings, tokenizer.decode))
            assert found == list(alone.generate(asked, settings, tokenizer.decode))
    few = opened(demo_model, dtype="float32", batch_tokens=200, prefill_step=9)
    assert list(few.generate(prompts, settings, tokenizer.decode)) == list(
        demo.generate(prompts, settings, tokenizer.decode)
    )


def test_what_texts_begin_with_is_run_once(demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opened(demo_model, dtype="float32")
    fed = fed_by(backend, monkeypatch)
    prompts = [Prompt(group.context) for group in branching(12, start=300, vocabulary=2048)]
    texts = list(backend.generate(prompts, GenerationSettings(max_tokens=8), str))
    distinct = len({prompt.ids[:end] for prompt in prompts for end in range(1, len(prompt.ids) + 1)})
    # the last token of a text is never read
    assert sum(fed) == distinct + sum(len(text.ids) - 1 for text in texts)


SAMPLED = GenerationSettings(max_tokens=24, temperature=0.8, top_p=0.95)


def test_drawn_texts_are_the_oracles(
    demo_model: Path, demo: MLXBackend, oracle: ReferenceBackend, tokenizer: FastTokenizer, text: TokenIds
) -> None:
    # equal prompts among others, each with a seed of its own
    prompts = [Prompt(ids, seed=seed) for ids in (text[:30], text[:9]) for seed in range(6)]
    prompts[3:3] = [Prompt(text[:1], seed=1)]
    found = list(demo.generate(prompts, SAMPLED, tokenizer.decode))
    assert found == list(oracle.generate(prompts, SAMPLED, tokenizer.decode))
    assert len({each.ids for each in found}) == len(prompts)
    alone = opened(demo_model, dtype="float32")
    alone._engine._choice = None
    assert list(alone.generate(prompts, SAMPLED, tokenizer.decode)) == found


def test_a_prompt_of_which_several_texts_are_drawn_is_run_once(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch, text: TokenIds
) -> None:
    backend = opened(demo_model, dtype="float32")
    fed = fed_by(backend, monkeypatch)
    prompts = [Prompt(text[:20], seed=seed) for seed in range(6)]
    texts = list(backend.generate(prompts, SAMPLED, str))
    # the last token of a prompt is run for each text, for what follows it; the last of a text is never read
    assert sum(fed) == 19 + 6 + sum(len(each.ids) - 1 for each in texts)


def test_a_text_that_fills_the_context_ends_by_length(tiny: Path) -> None:
    backend = opened(tiny)
    prompt = Prompt(tuple(range(60)))
    (completion,) = backend.generate([prompt], GenerationSettings(max_tokens=50), str)
    assert (len(completion.ids), completion.reason) == (4, "length")
    full, none = Prompt(tuple(range(64))), GenerationSettings(max_tokens=0)
    assert next(iter(backend.generate([full], GenerationSettings(), str))).ids == ()
    assert next(iter(backend.generate([prompt], none, str))).ids == ()


def test_logits_that_are_no_numbers_end_the_job(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    damage(folder, lambda tensors: tensors["model.norm.weight"].fill(math.nan))
    with pytest.raises(JobFailed, match="logits are not numbers"):
        list(opened(folder).generate([Prompt((1, 2))], GenerationSettings(), str))


def test_distributions_sum_to_one_and_agree_with_the_likelihoods(demo: MLXBackend, text: TokenIds) -> None:
    whole = list(demo.top_logprobs(text, 2048))
    assert len(whole) == len(text)
    for top in whole:
        assert sorted(top.ids) == list(range(2048))
        assert list(top.logprobs) == sorted(top.logprobs, reverse=True)
        assert math.fsum(map(math.exp, top.logprobs)) == pytest.approx(1, abs=1e-5)
    ((reply,),) = demo.score([ScoreGroup(text[:1], (text[1:],))])
    for top, token, logprob in zip(whole, text[1:], reply.token_logprobs, strict=False):
        assert top.logprobs[top.ids.index(token)] == pytest.approx(logprob, abs=1e-4)
    few = list(demo.top_logprobs(text, 5))
    assert [(top.ids[:5], top.logprobs[:5]) for top in whole] == [(top.ids, top.logprobs) for top in few]


# ---- what is opened --------------------------------------------------------------------------------


def test_it_says_what_was_opened(demo: MLXBackend, tokenizer: FastTokenizer) -> None:
    info = demo.model_info()
    assert (info.architecture, info.dtype, info.engine) == ("LlamaForCausalLM", "float32", "mlx-lm")
    assert info.parameters == info.parameters_stored == 3_672_320
    assert (info.context, info.vocabulary) == (2048, 2048)
    assert demo.verify_tokenizer(tokenizer) is None
    assert demo.notes() == ()


def test_a_head_that_is_stored_beside_the_tied_table_counts_as_stored(tmp_path: Path) -> None:
    shape = {**TINY_LLAMA, "tie_word_embeddings": True}
    folder = write_model(tmp_path, shape)
    table = 96 * 32
    damage(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"]}))
    info = opened(folder).model_info()
    assert info.parameters_stored == info.parameters + table
    assert info.parameters == sum(tensor.size for tensor in random_tensors(shape).values())


def test_another_tokenizer_is_noticed(demo: MLXBackend, demo_model: Path) -> None:
    definition = json.loads((demo_model / "tokenizer.json").read_text())
    definition["normalizer"] = {"type": "Lowercase"}
    difference = demo.verify_tokenizer(FastTokenizer(json.dumps(definition), "lowercase", 1, 2))
    assert difference is not None
    assert "to mlx-lm" in difference


def test_memory_is_that_of_the_weights_and_what_mlx_counts(demo: MLXBackend) -> None:
    weights, active, peak = demo.memory()
    assert [reading.scope for reading in (weights, active, peak)] == ["weights", "active", "peak"]
    assert weights.value == 4 * 3_672_320
    assert peak.source == "mlx.core.get_peak_memory"
    assert peak.value >= active.value >= weights.value


def test_the_fingerprint_says_what_auto_means() -> None:
    known = {option.name: option.default for option in MLXBackend.options}
    found = MLXBackend.fingerprint(known)
    assert found["device"] in {"cpu", "gpu"}
    assert {"version", "mlx", "processor", "tf32"} <= set(found)
    assert found["kv_group_size"] is None
    assert MLXBackend.fingerprint({**known, "kv_bits": 8})["kv_group_size"] == 64


def test_importing_the_plugin_imports_no_engine() -> None:
    code = "import sys, slmeval_mlx; slmeval_mlx.MLXBackend.missing(); print('mlx.core' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


@pytest.mark.skipif(not mx.is_available(mx.cpu) or mx.is_available(mx.gpu), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_a_clear_error(tiny: Path) -> None:
    with pytest.raises(ModelError, match="device 'gpu' is not there"):
        opened(tiny, device="gpu")


# ---- quantized models ------------------------------------------------------------------------------


def test_a_quantized_model_opens_and_is_near(
    four_bit: ModelRef, oracle: ReferenceBackend, tokenizer: FastTokenizer, text: TokenIds
) -> None:
    backend = opened(four_bit)
    info = backend.model_info()
    assert info.dtype == "4-bit (group 64), float16"
    assert info.parameters == info.parameters_stored == 3_672_320
    assert backend.notes() == ("4.507 bits per weight, scales and all",)
    assert backend.verify_tokenizer(tokenizer) is None
    groups = [ScoreGroup(text[:8], (text[8:],))]
    (((found,),), ((exact,),)) = (list(each.score(groups)) for each in (backend, oracle))
    assert 0.01 < abs(found.logprob - exact.logprob) < 0.25 * abs(exact.logprob)


def test_quantized_weights_are_held_with_their_scales(four_bit: ModelRef) -> None:
    backend = opened(four_bit)
    bits = float(backend.notes()[0].split(" ")[0])
    held = {reading.scope: reading.value for reading in backend.memory()}
    assert held["weights"] == pytest.approx(bits / 8 * backend.model_info().parameters, rel=0.001)


def test_quantized_weights_are_computed_as_exactly_as_plain_ones(
    four_bit: ModelRef, text: TokenIds, tmp_path: Path
) -> None:
    plain = MLXConverter().convert(four_bit, "F32", str(tmp_path))
    groups = [ScoreGroup(text[:8], (text[8:], text[4:7]))]
    backend = opened(four_bit, dtype="float32")
    assert far(backend.score(groups), oracle_of(plain).score(groups)) < 1e-4
    assert "the quantized weights are as stored" in backend.notes()[1]


def test_a_converted_folder_keeps_what_makes_texts(four_bit: ModelRef, demo_model: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (Path(four_bit.location) / name).read_bytes() == (demo_model / name).read_bytes()


def test_what_cannot_be_converted_is_a_clear_error(
    four_bit: ModelRef, demo_model: Path, tmp_path: Path
) -> None:
    convert = MLXConverter().convert
    with pytest.raises(ModelError, match="quantized already: convert the model from which it was made"):
        convert(four_bit, "8bit", str(tmp_path))
    with pytest.raises(ModelError, match="no form 'Q4_K_M'"):
        convert(four_bit, "Q4_K_M", str(tmp_path))
    with pytest.raises(ModelError, match="there is no folder /nowhere/at/all"):
        convert(ModelRef("/nowhere/at/all"), "F16", str(tmp_path))
    odd = write_model(tmp_path / "odd", TINY_LLAMA, tokenizer=demo_model / "tokenizer.json")
    with pytest.raises(ModelError, match="no matrix has rows that are a multiple of 128 long"):
        convert(ModelRef(str(odd)), "4bit-g128", str(tmp_path))


# ---- what cannot be asked or opened ----------------------------------------------------------------


def test_what_does_not_fit_the_model_is_refused(tiny: Path) -> None:
    backend = opened(tiny)
    text = tuple(range(64))
    assert len(next(iter(backend.score([ScoreGroup(text, ((3,),))])))) == 1
    with pytest.raises(ValueError, match="65 tokens do not fit the model's context of 64"):
        list(backend.score([ScoreGroup(text, ((3, 4),))]))
    with pytest.raises(ValueError, match="at least one"):
        list(backend.score([ScoreGroup((), ((3,),))]))
    with pytest.raises(ValueError, match="token id 96"):
        list(backend.score([ScoreGroup((1,), ((96,),))]))
    with pytest.raises(ValueError, match="token id -1"):
        list(backend.generate([Prompt((1, -1))], GenerationSettings(), str))
    with pytest.raises(ValueError, match="65 tokens"):
        list(backend.top_logprobs((*text, 1), 5))


def damage(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the tensors of a folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def without_prefix(tensors: dict[str, Any]) -> None:
    """Name GPT-2's tensors as they are named in the files of 2019."""
    for name in list(tensors):
        tensors[name.removeprefix("transformer.")] = tensors.pop(name)


def configured(folder: Path, **fields: Any) -> Path:
    """A random Llama of which config.json says something else."""
    write_model(folder, TINY_LLAMA)
    (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, **fields}))
    return folder


def test_an_architecture_that_mlx_lm_has_not_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Model type abacus not supported"):
        opened(configured(tmp_path, model_type="abacus"))


def test_an_activation_that_mlx_lm_does_not_compute_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hidden_act 'gelu'"):
        opened(configured(tmp_path, hidden_act="gelu"))


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    fields = {name: value for name, value in TINY_LLAMA.items() if name != "rms_norm_eps"}
    write_model(tmp_path, TINY_LLAMA)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match="does not say rms_norm_eps"):
        opened(tmp_path)


def test_weights_that_are_missing_too_many_or_misshapen_are_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA)
    damage(folder, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(ModelError, match=r"Missing 1 parameters.* model\.norm\.weight"):
        opened(folder)
    damage(folder, lambda tensors: tensors.update(random_tensors({**TINY_LLAMA, "num_hidden_layers": 3})))
    with pytest.raises(ModelError, match=r"Received 9 parameters not in model.*and 6 more"):
        opened(folder)
    damage(
        write_model(tmp_path, TINY_LLAMA),
        lambda tensors: tensors.update({"model.norm.weight": tensors["lm_head.weight"]}),
    )
    with pytest.raises(ModelError, match=r"Expected shape \(32,\).*model\.norm\.weight"):
        opened(folder)


def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    path = write_model(tmp_path, TINY_LLAMA) / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b"\xff" * 64, b""):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="is damaged"):
            opened(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match="has no model"):
        opened(tmp_path)


def test_a_folder_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        opened(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        opened(tmp_path)
    with pytest.raises(ModelError, match="there is no folder"):
        opened(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a file"):
        opened(tmp_path / "config.json")
    with pytest.raises(ModelError, match="no revision"):
        opened(ModelRef(str(tmp_path), "main"))
    (tmp_path / "config.json").write_text("{}")
    write_shard(tmp_path)
    with pytest.raises(ModelError, match="does not say model_type"):
        opened(tmp_path)


def write_shard(folder: Path) -> None:
    save_file(random_tensors(TINY_LLAMA), folder / "model.safetensors")


def test_shards_are_read_and_strays_are_refused(tmp_path: Path, tiny: Path) -> None:
    folder = write_model(tmp_path, TINY_LLAMA, seed=3, shards=3)
    assert list(opened(folder).score(GROUPS)) == list(opened(tiny).score(GROUPS))
    write_shard(folder)
    with pytest.raises(ModelError, match="is not named in"):
        opened(folder)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Python code of its own"):
        opened(configured(tmp_path, model_file="model.py"))


def test_memory_that_runs_out_ends_the_job_with_a_way_out(demo: MLXBackend) -> None:
    from slmeval_mlx.memory import memory_guard

    with pytest.raises(JobFailed, match="batch_tokens"), memory_guard("7 tokens"):
        raise RuntimeError("[malloc] Unable to allocate 1 bytes.")
    with pytest.raises(RuntimeError, match="something else"), memory_guard("7 tokens"):
        raise RuntimeError("something else")
