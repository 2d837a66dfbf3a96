"""The llamacpp backend against the oracle, against itself in any order, and against damaged files."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import TINY_QWEN2, random_tensors, write_model

pytest.importorskip("llama_cpp", reason="the llamacpp backend needs llama-cpp-python")
gguf = pytest.importorskip("gguf", reason="these tests write GGUF files with the gguf library")

from slmeval.errors import JobFailed, ModelError  # noqa: E402
from slmeval.gguf_file import read_gguf  # noqa: E402
from slmeval.token_tree import common_length as common  # noqa: E402
from slmeval.tokenizing import read_tokenizer  # noqa: E402
from slmeval.types import (  # noqa: E402
    GenerationSettings,
    Likelihood,
    ModelRef,
    OptionValue,
    Prompt,
    ScoreGroup,
    TokenIds,
)
from slmeval_llamacpp import LlamaCppBackend, slmeval_register_backends  # noqa: E402
from slmeval_llamacpp.distributions import graded  # noqa: E402
from slmeval_llamacpp.packing import Limits, Packer, Row  # noqa: E402
from slmeval_llamacpp.quantize import quantize  # noqa: E402
from slmeval_reference import ReferenceBackend  # noqa: E402

DEMO = ROOT / "slmeval" / "demo"
VOCABULARY, CONTEXT = 2048, 2048
TEXT = """Mira is a fisher. The dish that Mira likes best is fried trout. Tom has 12 apples and buys 7 more.
How many apples does Tom have? The answer is 19. The capital of the valley is a town by the river."""

Answers = list[tuple[Likelihood, ...]]


def open_model(path: Path, **options: OptionValue) -> LlamaCppBackend:
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    return LlamaCppBackend(ModelRef(str(path)), {**defaults, "threads": 1, **options})


@pytest.fixture(scope="module")
def exact() -> Iterator[LlamaCppBackend]:
    """The demo model in float32."""
    backend = open_model(DEMO / "model.gguf", dtype="float32")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[LlamaCppBackend]:
    """The demo model as it is stored, F16."""
    backend = open_model(DEMO / "model.gguf")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[ReferenceBackend]:
    backend = ReferenceBackend(ModelRef(str(DEMO / "model")), {"threads": 1})
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def encode() -> Callable[[str], TokenIds]:
    return read_tokenizer(DEMO / "model" / "tokenizer.json", "the demo").encode


@pytest.fixture(scope="module")
def decode() -> Callable[[Sequence[int]], str]:
    return read_tokenizer(DEMO / "model" / "tokenizer.json", "the demo").decode


def some_ids(count: int, seed: int = 0, vocabulary: int = VOCABULARY) -> TokenIds:
    return tuple(np.random.default_rng(seed).integers(3, vocabulary, count).tolist())


def furthest(left: Sequence[Sequence[Likelihood]], right: Sequence[Sequence[Likelihood]]) -> float:
    """The largest difference of two summed log-probabilities; the same shape is asked for."""
    pairs = [pair for one, other in zip(left, right, strict=True) for pair in zip(one, other, strict=True)]
    assert all(len(one.token_logprobs) == len(other.token_logprobs) for one, other in pairs)
    return max((abs(one.logprob - other.logprob) for one, other in pairs), default=0.0)


def greedy_flags(answers: Sequence[Sequence[Likelihood]]) -> list[bool]:
    return [answer.greedy for group in answers for answer in group]


@pytest.fixture(scope="module")
def questions(encode: Callable[[str], TokenIds]) -> list[ScoreGroup]:
    """A few-shot block with questions behind it, each with choices: as a task asks them."""
    block = encode(" ".join([TEXT] * 4))
    assert len(block) > 256
    # without the mark that begins a text
    bare = [encode(text)[1:] for text in ("Who fishes?", "Who fishes here?", "What is best?", "How many?")]
    choices = [encode(f" {word}")[1:] for word in ("Mira", "Tom has", "fried trout", "19 apples", "19")]
    groups = [ScoreGroup(block + ask, tuple(choices[at:])) for at, ask in enumerate(bare)]
    return with_shared(sorted(groups, key=lambda group: group.context))


def with_shared(groups: Sequence[ScoreGroup]) -> list[ScoreGroup]:
    """The same with the hints that the core gives."""
    before: TokenIds = ()
    hinted = []
    for group in groups:
        pairs = enumerate(zip(before, group.context, strict=False))
        shared = next((at for at, (one, other) in pairs if one != other), len(before))
        hinted.append(ScoreGroup(group.context, group.continuations, min(shared, len(group.context))))
        before = group.context
    return hinted


# ---- against the oracle ----------------------------------------------------------------------------


def test_float32_agrees_with_the_oracle(
    exact: LlamaCppBackend, oracle: ReferenceBackend, questions: list[ScoreGroup]
) -> None:
    ours, theirs = list(exact.score(questions)), list(oracle.score(questions))
    assert furthest(ours, theirs) < 1e-4
    assert greedy_flags(ours) == greedy_flags(theirs)


def test_unlikely_texts_agree_too(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    groups = [
        ScoreGroup(some_ids(40, seed), tuple(some_ids(5, 10 * seed + at) for at in range(3)))
        for seed in range(4)
    ]
    assert furthest(list(exact.score(groups)), list(oracle.score(groups))) < 1e-3


def test_as_stored_is_close(
    plain: LlamaCppBackend, oracle: ReferenceBackend, questions: list[ScoreGroup]
) -> None:
    far = furthest(list(plain.score(questions)), list(oracle.score(questions)))
    assert 1e-5 < far < 0.1


@pytest.mark.parametrize("length", [0, 1, 40])
def test_texts_are_the_oracles(
    exact: LlamaCppBackend,
    oracle: ReferenceBackend,
    encode: Callable[[str], TokenIds],
    decode: Callable[[Sequence[int]], str],
    length: int,
) -> None:
    starts = (
        "Mira",
        "The",
        "The dish that",
        "Tom has 12",
        "The",
        "How many",
        "A town by",
        "Who?",
        "Is it so",
        "x",
    )
    prompts = [Prompt(encode(start)) for start in starts]
    asked = GenerationSettings(max_tokens=length, stop=(". ",), end_ids=(2,))
    ours = list(exact.generate(prompts, asked, decode))
    assert ours == list(oracle.generate(prompts, asked, decode))


def test_a_text_ends_where_the_context_is_full(
    exact: LlamaCppBackend, oracle: ReferenceBackend, decode: Callable[[Sequence[int]], str]
) -> None:
    prompts = [Prompt(some_ids(length, 3)) for length in (CONTEXT - 3, CONTEXT - 1, CONTEXT)]
    asked = GenerationSettings(max_tokens=9)
    ours = list(exact.generate(prompts, asked, decode))
    assert ours == list(oracle.generate(prompts, asked, decode))
    assert [(len(text.ids), text.reason) for text in ours] == [(3, "length"), (1, "length"), (0, "length")]


def test_distributions_are_the_oracles(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    ids = some_ids(30, 5)
    found = list(exact.top_logprobs(ids, VOCABULARY))
    assert len(found) == len(ids)
    every = [(token,) for token in range(VOCABULARY)]
    for place in (0, 17, 29):
        ((*wanted,),) = oracle.score([ScoreGroup(ids[: place + 1], tuple(every))])
        assert sorted(found[place].ids) == list(range(VOCABULARY))
        assert list(found[place].logprobs) == sorted(found[place].logprobs, reverse=True)
        for token, logprob in zip(found[place].ids, found[place].logprobs, strict=True):
            assert logprob == pytest.approx(wanted[token].logprob, abs=1e-3)
    for few, all_of_them in zip(exact.top_logprobs(ids, 5), found, strict=True):
        assert few.ids == all_of_them.ids[:5]
    assert math.fsum(math.exp(value) for value in found[0].logprobs) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("vocabulary", [3, 1024, 2047, 70_000])
def test_log_probabilities_of_logits(vocabulary: int) -> None:
    """Against float64, some so unlikely that float32 has only subnormal numbers for them."""
    logits = np.random.default_rng(0).normal(0, 30, (5, vocabulary)).astype(np.float32)
    logits[1, :] = 7  # all are equally likely
    logits[2, -1] = -np.inf
    logits[3, -1] = 300
    lines, tokens = np.array([0, 1, 1, 2, 3, 4]), np.array([1, 0, 2, 1, vocabulary - 1, 1])
    wide = logits.astype(np.float64)
    norms = np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1)) + wide.max(-1)
    found, best = graded(logits, lines, tokens)
    np.testing.assert_allclose(found, (wide - norms[:, None])[lines, tokens], rtol=0, atol=1e-6)
    assert best.tolist() == (logits.argmax(-1)[lines] == tokens).tolist()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers(number: float) -> None:
    logits = np.zeros((2, 1500), np.float32)
    logits[1, 1400 if number > 0 or math.isnan(number) else slice(None)] = number
    with pytest.raises(JobFailed, match="not numbers"):
        graded(logits, np.array([0]), np.array([0]))


# ---- the same answer however it is asked -----------------------------------------------------------


def test_alone_together_in_any_order_with_and_without_hints(
    exact: LlamaCppBackend, questions: list[ScoreGroup]
) -> None:
    together = list(exact.score(questions))
    alone = [next(exact.score([group])) for group in questions]
    backwards = list(exact.score([ScoreGroup(g.context, g.continuations[::-1]) for g in questions[::-1]]))
    unhinted = list(exact.score([ScoreGroup(group.context, group.continuations) for group in questions]))
    assert furthest(alone, together) < 1e-4
    assert furthest([group[::-1] for group in backwards[::-1]], together) < 1e-4
    assert unhinted == together


def test_the_same_call_gives_the_same_bits(exact: LlamaCppBackend, questions: list[ScoreGroup]) -> None:
    first = list(exact.score(questions))
    list(exact.score(questions[1:]))
    assert list(exact.score(questions)) == first
    list(exact.score([ScoreGroup(some_ids(300, 8), (some_ids(30, 9),))]))
    assert list(exact.score(questions)) == first
    another = open_model(DEMO / "model.gguf", dtype="float32")
    assert list(another.score(questions)) == first
    another.close()


def test_a_call_that_was_left_halfway_does_no_harm(
    exact: LlamaCppBackend, questions: list[ScoreGroup]
) -> None:
    many = [ScoreGroup(some_ids(400, seed), ((5, 6),)) for seed in range(3)]
    wanted = list(exact.score(questions))
    left = exact.score(many)
    next(left)
    assert list(exact.score(questions)) == wanted
    with pytest.raises(RuntimeError, match="before the next call"):
        list(left)


@contextmanager
def tokens_run(backend: LlamaCppBackend) -> Iterator[list[int]]:
    """How many tokens each batch has that is run meanwhile; what was kept before is forgotten."""
    list(backend.score([ScoreGroup(some_ids(5), ((1,),))]))
    run: list[int] = []
    context = backend._engine._context
    decoded, context.decode = (
        context.decode,
        lambda arrays: (run.append(arrays.batch.n_tokens), decoded(arrays)),
    )
    try:
        yield run
    finally:
        del context.decode


def nodes(fed: Iterable[TokenIds]) -> int:
    """The tokens of the tree over what is fed."""
    return len({ids[: end + 1] for ids in fed for end in range(len(ids))})


def test_what_is_shared_is_run_once(exact: LlamaCppBackend, questions: list[ScoreGroup]) -> None:
    with tokens_run(exact) as run:
        list(exact.score(questions))
    assert sum(run) == nodes(fed_rows(questions))


def test_prompts_share_what_they_begin_with(
    exact: LlamaCppBackend, decode: Callable[[Sequence[int]], str]
) -> None:
    """A block that all begin with, two that half of them go on with, and more prompts than seats."""
    block = some_ids(300, 1)
    contexts = [block + some_ids(60, half) + some_ids(40, at) for half in (2, 3) for at in range(10, 20)]
    prompts = [Prompt(ids) for ids in contexts]
    asked = GenerationSettings(max_tokens=3)
    with tokens_run(exact) as run:
        first = list(exact.generate(prompts, asked, decode))
    assert sum(run) == nodes(contexts) + 2 * len(contexts)
    assert max(run) <= 256
    with tokens_run(exact) as run:
        list(exact.generate(prompts, asked, decode))
        # all but a step's part of the block is still there
        before = sum(run)
        assert list(exact.generate(prompts[:13], asked, decode)) == first[:13]
    assert sum(run) - before <= nodes(contexts[:13]) + 2 * 13 - 256


def test_seats_are_taken_by_those_who_wait(
    exact: LlamaCppBackend, oracle: ReferenceBackend, decode: Callable[[Sequence[int]], str]
) -> None:
    """Prompts of very different lengths, whose texts end at different places."""
    block = some_ids(150, 4)
    lengths = [1 + 37 * at % 190 for at in range(30)]
    prompts = [Prompt(block[: 1 + at % 150] + some_ids(size, at)) for at, size in enumerate(lengths)]
    asked = GenerationSettings(max_tokens=12, end_ids=tuple(range(0, VOCABULARY, 9)))
    wanted = list(oracle.generate(prompts, asked, decode))
    assert len({len(text.ids) for text in wanted}) > 3
    assert list(exact.generate(prompts, asked, decode)) == wanted
    again = list(exact.generate(prompts[::-1], asked, decode))
    assert again == list(exact.generate(prompts[::-1], asked, decode)) == wanted[::-1]


SAMPLED = GenerationSettings(max_tokens=16, temperature=0.8, top_p=0.95)


def test_drawn_texts_are_the_oracles(
    exact: LlamaCppBackend, oracle: ReferenceBackend, decode: Callable[[Sequence[int]], str]
) -> None:
    """Equal prompts among others, each with a seed of its own: more than there are seats."""
    prompts = [Prompt(some_ids(size, size), seed=seed) for size in (30, 9) for seed in range(10)]
    prompts[3:3] = [Prompt(some_ids(1, 1), seed=1)]
    found = list(exact.generate(prompts, SAMPLED, decode))
    assert found == list(oracle.generate(prompts, SAMPLED, decode))
    # two seeds may well draw the same
    assert len({each.ids for each in found}) > len(prompts) - 3
    assert list(exact.generate(prompts[4:5], SAMPLED, decode)) == found[4:5]


def test_a_prompt_of_which_several_texts_are_drawn_is_run_once(
    exact: LlamaCppBackend, decode: Callable[[Sequence[int]], str]
) -> None:
    prompts = [Prompt(some_ids(300, 8), seed=seed) for seed in range(15)]
    with tokens_run(exact) as run:
        texts = list(exact.generate(prompts, SAMPLED, decode))
    # the last token of a prompt is run for each text, for what follows it; the last of a text is never read
    assert sum(run) == 299 + 15 + sum(len(each.ids) - 1 for each in texts)


def fed_rows(groups: Sequence[ScoreGroup]) -> Iterator[TokenIds]:
    for group in groups:
        for tokens in group.continuations:
            yield group.context + tokens[:-1]


def test_questions_over_many_packs(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    """Two blocks, more questions than a batch holds, some of which begin alike beyond their block."""
    blocks = [some_ids(140, 1), some_ids(150, 2)]
    contexts = [
        block + some_ids(20, 30 + at // 2) + some_ids(at % 2 * 10, at) for block in blocks for at in range(12)
    ]
    groups = with_shared(
        [
            ScoreGroup(context, (some_ids(6, at), some_ids(2, at), some_ids(6, at)[:3]))
            for at, context in enumerate(sorted(contexts))
        ]
    )
    small = open_model(DEMO / "model.gguf", dtype="float32", batch_tokens=64)
    wanted = list(oracle.score(groups))
    assert furthest(list(small.score(groups)), wanted) < 1e-3
    assert furthest(list(exact.score(groups)), wanted) < 1e-3
    small.close()


def test_many_continuations_of_one_context(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    context = some_ids(50, 6)
    group = ScoreGroup(context, tuple(some_ids(1 + at % 4, at) for at in range(300)))
    (ours,), (theirs,) = exact.score([group]), oracle.score([group])
    assert furthest([ours], [theirs]) < 1e-3


def test_equal_and_empty_continuations(exact: LlamaCppBackend) -> None:
    group = ScoreGroup((7, 8), ((9,), (), (9, 10), (9,), ()))
    ((one, nothing, two, again, _),) = exact.score([group])
    assert nothing == Likelihood((), True)
    assert one == again
    assert two.token_logprobs[0] == pytest.approx(one.logprob, abs=1e-6)
    assert list(exact.score([ScoreGroup((7,), ()), ScoreGroup((8,), ((),))])) == [(), (nothing,)]
    assert list(exact.score([])) == []


def test_a_context_that_begins_another(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    long = some_ids(30, 4)
    groups = [ScoreGroup(long[:end], (long[end : end + 3], (5,))) for end in (10, 11, 20, 10, 1, 27)]
    assert furthest(list(exact.score(groups)), list(oracle.score(groups))) < 1e-3


def test_a_thousand_short_requests(exact: LlamaCppBackend) -> None:
    groups = [ScoreGroup((1, at), ((5,), (6, 7))) for at in range(1000)]
    answers = list(exact.score(groups))
    assert len(answers) == 1000
    assert furthest(answers[500:510], list(exact.score(groups[500:510]))) < 1e-4


# ---- packs -------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    trunk=st.lists(st.integers(0, 1), max_size=6).map(tuple),
    texts=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=8).map(tuple), min_size=1, max_size=9),
    data=st.data(),
)
def test_a_pack_holds_each_sequence(trunk: TokenIds, texts: list[TokenIds], data: st.DataObject) -> None:
    rows = [Row(ids, data.draw(st.integers(0, len(ids) - 1))) for ids in texts]
    # what is kept of the cache never reaches the first row's start
    trunk = trunk[: min(common(trunk, rows[0].ids), rows[0].start)]
    limits = Limits(tokens=12, sequences=4, cells=16)
    packer, before = Packer(len(trunk), limits), trunk
    for row in rows:
        if not packer.add(row, common(before, row.ids)):
            break
        before = row.ids
    pack = packer.finish()
    columns = list(zip(pack.tokens, pack.positions, pack.first, pack.counts, strict=True))
    sequences = [
        trunk[:copied] + tuple(token for token, _, first, count in columns if first <= at < first + count)
        for at, copied in enumerate(pack.copied, start=1)
    ]
    for row, places in zip(rows[: pack.rows], pack.places, strict=True):
        assert any(sequence[: len(row.ids)] == row.ids for sequence in sequences)
        assert [pack.positions[place] for place in places] == list(range(row.start, len(row.ids)))
        assert [pack.tokens[place] for place in places] == list(row.ids[row.start :])
    assert pack.rows == 1 or (len(columns) <= 12 and len(pack.copied) <= 4)


def test_common_beginnings() -> None:
    assert [common((1, 2, 3), other) for other in ((), (2,), (1,), (1, 2, 4), (1, 2, 3), (1, 2, 3, 4))] == [
        0, 0, 1, 2, 3, 3,
    ]  # fmt: skip


# ---- lengths ---------------------------------------------------------------------------------------


def test_long_contexts_are_run_in_pieces(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    groups = [ScoreGroup(some_ids(1500, 1), (some_ids(20, 2),)), ScoreGroup((1,), (some_ids(900, 3),))]
    assert furthest(list(exact.score(groups)), list(oracle.score(groups))) < 1e-3


def test_one_token_past_the_context(exact: LlamaCppBackend, oracle: ReferenceBackend) -> None:
    whole = some_ids(CONTEXT + 1, 1)
    for cut in (CONTEXT, CONTEXT - 30):
        group = ScoreGroup(whole[:cut], (whole[cut:],))
        assert furthest(list(exact.score([group])), list(oracle.score([group]))) < 1e-3
        with pytest.raises(
            ValueError, match=f"{CONTEXT + 1} tokens do not fit the model's context of {CONTEXT}"
        ):
            exact.score([ScoreGroup(whole[:cut], (*group.continuations, (*whole[cut:], 5)))])


def test_what_does_not_fit_is_refused(exact: LlamaCppBackend, decode: Callable[[Sequence[int]], str]) -> None:
    for group in (ScoreGroup((), ((5,),)), ScoreGroup((5,), ((VOCABULARY,),)), ScoreGroup((-1,), ((5,),))):
        with pytest.raises(ValueError, match=r"no tokens|not in the model's vocabulary"):
            exact.score([group])
    for ids in ((), some_ids(CONTEXT + 1), (VOCABULARY,)):
        with pytest.raises(ValueError, match=r"tokens|not in the model's vocabulary"):
            exact.generate([Prompt(ids)], GenerationSettings(), decode)
        with pytest.raises(ValueError, match=r"tokens|not in the model's vocabulary"):
            exact.top_logprobs(ids, 5)
    with pytest.raises(ValueError, match="there are no 0 likeliest tokens"):
        exact.top_logprobs((5,), 0)


# ---- other models: written here, of random weights ---------------------------------------------------


def write_gguf(path: Path, family: str, facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """A GGUF file without a tokenizer; ``facts`` are metadata under the family's name."""
    writer = gguf.GGUFWriter(path, family)
    writer.add_tokenizer_model("none")
    for name, value in facts.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{family}.{name}", value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


QWEN2_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers": "blk",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
QWEN2_FACTS = {
    "vocab_size": 96,
    "context_length": 64,
    "embedding_length": 32,
    "block_count": 2,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 1,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 1000000.0,
}


def qwen2_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """The weights of ``write_model(folder, TINY_QWEN2, seed)`` under llama.cpp's names."""
    renamed = {}
    for name, tensor in random_tensors(TINY_QWEN2, seed).items():
        for theirs, ours in QWEN2_NAMES.items():
            name = name.replace(theirs, ours)  # noqa: PLW2901
        renamed[name] = tensor
    return renamed


def write_qwen2(path: Path, seed: int = 0, **facts: Any) -> Path:
    return write_gguf(path, "qwen2", QWEN2_FACTS | facts, qwen2_tensors(seed))


def write_gemma2(path: Path, window: int) -> Path:
    """Every other layer sees the last ``window`` tokens only."""
    random = np.random.default_rng(1)
    facts = {
        **{key: QWEN2_FACTS[key] for key in ("vocab_size", "embedding_length", "feed_forward_length")},
        "context_length": 512,
        "block_count": 4,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
        "attention.key_length": 16,
        "attention.value_length": 16,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.sliding_window": window,
    }
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (96, 32), "output_norm": (32,)}
    for layer in range(4):
        norms = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        shapes |= {f"blk.{layer}.{norm}": (32,) for norm in norms}
        shapes |= {f"blk.{layer}.attn_q": (32, 32), f"blk.{layer}.attn_output": (32, 32)}
        shapes |= {f"blk.{layer}.attn_k": (16, 32), f"blk.{layer}.attn_v": (16, 32)}
        shapes |= {f"blk.{layer}.ffn_gate": (48, 32), f"blk.{layer}.ffn_up": (48, 32)}
        shapes |= {f"blk.{layer}.ffn_down": (32, 48)}
    tensors = {f"{name}.weight": random.standard_normal(shape) / 4 for name, shape in shapes.items()}
    return write_gguf(path, "gemma2", facts, tensors)


def write_mamba(path: Path) -> Path:
    """A model whose state cannot be rewound."""
    random = np.random.default_rng(2)
    facts = {
        "vocab_size": 96,
        "context_length": 512,
        "embedding_length": 32,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "block_count": 2,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 64,
        "ssm.state_size": 8,
        "ssm.time_step_rank": 4,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    tensors = {"token_embd.weight": random.standard_normal((96, 32)), "output_norm.weight": np.ones(32)}
    for layer in range(2):
        tensors |= {
            f"blk.{layer}.attn_norm.weight": np.ones(32),
            f"blk.{layer}.ssm_in.weight": random.standard_normal((128, 32)) / 4,
            f"blk.{layer}.ssm_conv1d.weight": random.standard_normal((64, 4)),
            f"blk.{layer}.ssm_conv1d.bias": random.standard_normal(64),
            f"blk.{layer}.ssm_x.weight": random.standard_normal((20, 64)) / 4,
            f"blk.{layer}.ssm_dt.weight": random.standard_normal((64, 4)),
            f"blk.{layer}.ssm_dt.bias": random.standard_normal(64),
            f"blk.{layer}.ssm_a": -np.exp(random.standard_normal((64, 8))),
            f"blk.{layer}.ssm_d": random.standard_normal(64),
            f"blk.{layer}.ssm_out.weight": random.standard_normal((32, 64)) / 4,
        }
    return write_gguf(path, "mamba", facts, tensors)


def tree_of_groups(length: int) -> list[ScoreGroup]:
    """Contexts that part at several depths, with continuations: 96 words."""
    ids = partial(some_ids, vocabulary=96)
    block = ids(length, 1)
    contexts = [block + ids(5 * (at // 2), 10 + at // 2) + ids(4 + at % 2, at) for at in range(6)]
    return with_shared(
        [
            ScoreGroup(context, (ids(4, at), ids(4, at)[:2] + ids(2, 99), ids(1, 7)))
            for at, context in enumerate(sorted(contexts))
        ]
    )


def one_by_one(backend: LlamaCppBackend, groups: Sequence[ScoreGroup]) -> Answers:
    """Each sequence whole and from an empty cache: nothing is shared."""
    answers: Answers = []
    for group in groups:
        found = []
        for tokens in group.continuations:
            ids, start = group.context + tokens[:-1], len(group.context) - 1
            places = list(backend.top_logprobs(ids, 96))[start:]
            known = [dict(zip(place.ids, place.logprobs, strict=True)) for place in places]
            values = tuple(place[token] for place, token in zip(known, tokens, strict=True))
            best = all(place.ids[0] == token for place, token in zip(places, tokens, strict=True))
            found.append(Likelihood(values, best))
        answers.append(tuple(found))
    return answers


def test_a_small_context_and_biases(tmp_path: Path) -> None:
    backend = open_model(write_qwen2(tmp_path / "model.gguf"), dtype="float32")
    oracle = ReferenceBackend(ModelRef(str(write_model(tmp_path / "folder", TINY_QWEN2))), {"threads": 1})
    groups = [
        *tree_of_groups(20),
        ScoreGroup(some_ids(64, 1, 96), ((5,),)),
        ScoreGroup((3,), (some_ids(64, 2, 96),)),
    ]
    ours, theirs = list(backend.score(groups)), list(oracle.score(groups))
    assert furthest(ours, theirs) < 1e-3
    assert greedy_flags(ours) == greedy_flags(theirs)
    asked = GenerationSettings(max_tokens=70)
    prompts = [Prompt(group.context) for group in groups]
    assert list(backend.generate(prompts, asked, str)) == list(oracle.generate(prompts, asked, str))
    backend.close()


@pytest.mark.parametrize("window", [8, 40])
def test_a_sliding_window(tmp_path: Path, window: int) -> None:
    path = write_gemma2(tmp_path / "model.gguf", window)
    backend = open_model(path, dtype="float32", batch_tokens=32)
    groups = tree_of_groups(150)
    wanted = one_by_one(backend, groups)
    first = list(backend.score(groups))
    assert furthest(first, wanted) < 1e-4
    assert list(backend.score(groups)) == first
    assert furthest(list(backend.score(groups[::-1])), wanted[::-1]) < 1e-4
    long = [ScoreGroup(some_ids(400, 5, 96), (some_ids(100, 6, 96), some_ids(100, 7, 96)))] * 2
    assert furthest(list(backend.score(long)), one_by_one(backend, long)) < 1e-4
    alone = [list(backend.generate([Prompt(g.context)], GenerationSettings(60), str)) for g in groups]
    together = list(
        backend.generate([Prompt(group.context) for group in groups], GenerationSettings(60), str)
    )
    assert [text for (text,) in alone] == together
    backend.close()


def test_a_state_that_cannot_be_rewound(tmp_path: Path) -> None:
    backend = open_model(write_mamba(tmp_path / "model.gguf"), dtype="float32", batch_tokens=32)
    groups = tree_of_groups(60)
    wanted = one_by_one(backend, groups)
    first = list(backend.score(groups))
    assert furthest(first, wanted) < 1e-4
    assert list(backend.score(groups)) == first
    assert any("cannot be rewound" in note for note in backend.notes())
    prompts = [Prompt(group.context) for group in groups[:2]]
    (one, two) = backend.generate(prompts, GenerationSettings(5), str)
    ids = groups[0].context
    for token in one.ids:
        assert [*backend.top_logprobs(ids, 1)][-1].ids == (token,)
        ids = (*ids, token)
    assert len(two.ids) == 5
    backend.close()


def test_a_cache_that_grows_changes_no_bit(tmp_path: Path) -> None:
    path = write_qwen2(tmp_path / "model.gguf", context_length=20000)
    backend = open_model(path)
    groups, long = tree_of_groups(150), [ScoreGroup(some_ids(5000, 4, 96), ((5, 6),))]
    first, cache = list(backend.score(groups)), size_of_cache(backend)
    assert len(list(backend.score(long))) == 1
    assert size_of_cache(backend) == 2 * cache
    assert list(backend.score(groups)) == first
    backend.close()


def size_of_cache(backend: LlamaCppBackend) -> float:
    return next(reading.value for reading in backend.memory() if reading.scope == "kv cache (CPU)")


def test_numbers_that_overflow(tmp_path: Path, decode: Callable[[Sequence[int]], str]) -> None:
    tensors = qwen2_tensors()
    tensors["output_norm.weight"] = np.full(32, np.nan)
    backend = open_model(write_gguf(tmp_path / "model.gguf", "qwen2", QWEN2_FACTS, tensors))
    with pytest.raises(JobFailed, match="logits are not numbers"):
        list(backend.score([ScoreGroup((5,), ((6,),))]))
    with pytest.raises(JobFailed, match="logits are not numbers"):
        list(backend.generate([Prompt((5,))], GenerationSettings(), decode))
    backend.close()


# ---- quantized weights, caches, options --------------------------------------------------------------


@pytest.fixture(scope="module")
def q4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as Q4_K_M."""
    target = tmp_path_factory.mktemp("quantized") / "q4.gguf"
    quantize(DEMO / "model.gguf", target, "Q4_K_M")
    return target


def mean_loss(backend: Any, encode: Callable[[str], TokenIds]) -> float:
    ids = encode(TEXT)
    ((answer,),) = backend.score([ScoreGroup(ids[:1], (ids[1:],))])
    return float(-answer.logprob / (len(ids) - 1))


def test_quantized_weights_are_close_and_named(
    q4: Path, oracle: ReferenceBackend, encode: Callable[[str], TokenIds]
) -> None:
    backend = open_model(q4)
    assert 1e-4 < abs(mean_loss(backend, encode) - mean_loss(oracle, encode)) < 0.3
    info = backend.model_info()
    assert info.dtype.startswith("Q4_K_M, 5.0")
    assert info.dtype.endswith("bits per weight")
    assert (info.parameters, info.parameters_stored) == (3672320, 3672320)
    assert f"{info.dtype} over all tensors" in backend.notes()
    wide = open_model(q4, dtype="float32")
    assert wide.model_info().dtype == f"float32 (from {info.dtype})"
    assert mean_loss(wide, encode) == pytest.approx(mean_loss(backend, encode), abs=0.1)
    assert mean_loss(wide, encode) != mean_loss(backend, encode)
    for one in (backend, wide):
        one.close()


def test_what_was_opened(plain: LlamaCppBackend) -> None:
    info = plain.model_info()
    assert (info.architecture, info.device, info.engine) == ("llama", "cpu", "llama.cpp")
    assert (info.context, info.vocabulary) == (CONTEXT, VOCABULARY)
    assert info.dtype == "F16, 16.01 bits per weight"
    assert "llama.cpp" in info.engine_version
    assert "keys cached as f16, values as f16; flash attention off" in plain.notes()


def held(backend: LlamaCppBackend) -> dict[str, float]:
    """The readings of memory; one is in tokens."""
    readings = backend.memory()
    assert all(each.unit == ("tokens" if each.scope == "kv cache room" else "bytes") for each in readings)
    assert all(each.source for each in readings)
    found = {each.scope: each.value for each in readings}
    assert len(found) == len(readings)
    return found


def test_memory_is_what_llama_cpp_says(plain: LlamaCppBackend) -> None:
    list(plain.score([ScoreGroup((5,), (some_ids(300),))]))
    found = held(plain)
    parts = {"weights (CPU)", "kv cache (CPU)", "kv cache room", "compute (CPU)", "logits (CPU)"}
    assert set(found) == parts
    assert found["kv cache room"] == CONTEXT
    # keys and values of 4 layers with 2 heads of 64 numbers, in two bytes each
    assert found["kv cache (CPU)"] == 2 * 4 * 2 * 64 * 2 * CONTEXT
    header = read_gguf(DEMO / "model.gguf")
    assert found["weights (CPU)"] == sum(tensor.bytes for tensor in header.tensors)
    # a batch of the default size, all its logits wanted
    assert found["logits (CPU)"] == 4 * VOCABULARY * 256


def test_a_model_is_opened_with_a_small_cache() -> None:
    backend = open_model(DEMO / "model.gguf")
    assert held(backend)["kv cache room"] == 256
    backend.close()


def test_a_state_is_held_apart_from_keys(tmp_path: Path) -> None:
    backend = open_model(write_mamba(tmp_path / "model.gguf"))
    assert set(held(backend)) == {"weights (CPU)", "state (CPU)", "compute (CPU)", "logits (CPU)"}
    backend.close()


@pytest.mark.parametrize(
    ("options", "within"),
    [
        ({"kv_type": "f32"}, 0.1),
        ({"kv_type": "bf16"}, 0.5),
        ({"kv_type": "q8_0"}, 0.5),
        ({"kv_type": "q8_0", "kv_type_v": "f16", "flash_attention": "off"}, 0.5),
        ({"flash_attention": "on"}, 0.1),
        ({"dtype": "float32", "kv_type": "f16"}, 0.1),
        ({"dtype": "float32", "flash_attention": "on"}, 0.1),
        ({"batch_tokens": 32}, 0.1),
        ({"threads": 2}, 0.1),
    ],
    ids=str,
)
def test_every_cache_is_close(
    options: dict[str, OptionValue],
    within: float,
    oracle: ReferenceBackend,
    questions: list[ScoreGroup],
) -> None:
    backend = open_model(DEMO / "model.gguf", **options)
    assert furthest(list(backend.score(questions)), list(oracle.score(questions))) < within
    backend.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kv_type": "q8_0", "flash_attention": "off"}, "q8_0 need flash attention"),
        ({"kv_type_v": "q4_0", "flash_attention": "off"}, "q4_0 need flash attention"),
        ({"gpu_layers": 3}, "sees no GPU"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options: dict[str, OptionValue], why: str) -> None:
    import llama_cpp

    if "gpu_layers" in options and llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this llama-cpp-python has a GPU")
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    with pytest.raises(ModelError, match=why):
        LlamaCppBackend.fingerprint({**defaults, **options})
    with pytest.raises(ModelError, match=why):
        open_model(DEMO / "model.gguf", **options)


def test_a_cache_that_the_heads_do_not_fill(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="heads of 8 numbers, which blocks of 32 do not fill"):
        open_model(write_qwen2(tmp_path / "model.gguf"), kv_type="q8_0")


def test_rearranged_weights_are_refused_where_they_crash(plain: LlamaCppBackend) -> None:
    from slmeval_llamacpp.native import build_features

    if "AMX_INT8" not in build_features().split():
        open_model(DEMO / "model.gguf", repack=True).close()
        return
    with pytest.raises(ModelError, match=r"repack=true ends llama\.cpp on a CPU with AMX"):
        open_model(DEMO / "model.gguf", repack=True)


def test_the_fingerprint_says_what_was_resolved() -> None:
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    found = LlamaCppBackend.fingerprint(defaults)
    assert (found["engine"], found["kv_type"], found["kv_type_v"]) == ("llamacpp", "f16", "f16")
    assert found["flash_attention"] == "off"
    assert "llama.cpp" in str(found["version"])
    assert "CPU : " in str(found["build"])
    assert found["threads"] not in (0, "auto")
    # as it was before it could be 0: what was answered then is still the same
    assert found["batch_tokens"] == 256
    assert LlamaCppBackend.fingerprint({**defaults, "batch_tokens": 64})["batch_tokens"] == 64
    exact = LlamaCppBackend.fingerprint({**defaults, "dtype": "float32"})
    assert (exact["dtype"], exact["kv_type"]) == ("float32", "f32")
    assert LlamaCppBackend.fingerprint({**defaults, "kv_type": "q8_0"})["flash_attention"] == "on"
    json.dumps(found)


def test_importing_the_plugin_imports_no_engine() -> None:
    code = "import sys, slmeval_llamacpp as m; m.LlamaCppBackend.missing(); print('llama_cpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert list(slmeval_register_backends()) == [LlamaCppBackend]


def test_opening_again_and_again_leaks_nothing(q4: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    group = ScoreGroup(some_ids(50), (some_ids(5),))
    sizes = []
    for _ in range(12):
        backend = open_model(q4)
        list(backend.score([group]))
        backend.close()
        sizes.append(resident())
    # a cache and its buffers are 30 MB: half of eight, for what else this process does meanwhile
    assert sizes[-1] - sizes[3] < 4 * 30e6


def test_nothing_is_left_of_the_widened_weights(
    q4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    backend = open_model(q4, dtype="float32")
    assert list(tmp_path.iterdir()) == []
    assert next(backend.score([ScoreGroup((5,), ((6,),))]))
    backend.close()


def test_no_room_for_the_widened_weights(q4: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(ModelError, match=r"in float32 takes 0\.0 GB, and .* set TMPDIR"):
        open_model(q4, dtype="float32")


def test_shards_are_opened_by_the_first(
    tmp_path: Path, plain: LlamaCppBackend, questions: list[ScoreGroup]
) -> None:
    for shard in shards_of_demo(tmp_path):
        assert shard.is_file()
    backend = open_model(tmp_path / "demo-00001-of-00002.gguf")
    assert list(backend.score(questions)) == list(plain.score(questions))
    backend.close()
    wide = open_model(tmp_path / "demo-00001-of-00002.gguf", dtype="float32")
    wide.close()
    with pytest.raises(ModelError, match="name the first one"):
        open_model(tmp_path / "demo-00002-of-00002.gguf")


def shards_of_demo(folder: Path) -> list[Path]:
    """The demo model in two files, as llama.cpp's gguf-split writes them."""
    reader = gguf.GGUFReader(DEMO / "model.gguf")
    tensors = list(reader.tensors)
    halves = [tensors[:20], tensors[20:]]
    files = []
    for number, half in enumerate(halves):
        files.append(folder / f"demo-{number + 1:05}-of-00002.gguf")
        writer = gguf.GGUFWriter(files[-1], "llama")
        if not number:
            copy_metadata(reader, writer)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(tensors))
        for tensor in half:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return files


def copy_metadata(reader: Any, writer: Any) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)


# ---- tokenizers --------------------------------------------------------------------------------------


def test_the_tokenizer_is_the_models_own(plain: LlamaCppBackend) -> None:
    assert plain.verify_tokenizer(read_tokenizer(DEMO / "model" / "tokenizer.json", "the demo")) is None


def changed_tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> Any:
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / "model" / name, folder / name)
    definition = json.loads((folder / "tokenizer.json").read_text())
    change(definition)
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    return read_tokenizer(folder, "changed")


@pytest.mark.parametrize("place", [900, -1])
def test_one_changed_merge_is_found(plain: LlamaCppBackend, tmp_path: Path, place: int) -> None:
    def change(definition: dict[str, Any]) -> None:
        del definition["model"]["merges"][place]

    found = plain.verify_tokenizer(changed_tokenizer(tmp_path / "changed", change))
    assert found is not None
    assert "special tokens) is [" in found
    assert found.endswith("] to llama.cpp")
    assert len(found) < 300


def test_a_missing_mark_is_found(plain: LlamaCppBackend, tmp_path: Path) -> None:
    def change(definition: dict[str, Any]) -> None:
        definition["post_processor"] = None

    found = plain.verify_tokenizer(changed_tokenizer(tmp_path / "changed", change))
    assert found is not None
    assert "(with special tokens)" in found


# ---- files that cannot be opened ---------------------------------------------------------------------


def refusal(path: Path, **options: OptionValue) -> str:
    with pytest.raises(ModelError) as caught:
        open_model(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    assert "is not a file here" in refusal(tmp_path / "nothing.gguf")
    assert "is not a file here" in refusal(tmp_path)


@pytest.mark.parametrize("size", [0, 3, 4, 20, 1000, 40_000, 200_000, 7_000_000])
def test_a_file_that_is_cut_short(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes((DEMO / "model.gguf").read_bytes()[:size])
    assert str(path) in refusal(path)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path, content = tmp_path / "model.gguf", (DEMO / "model.gguf").read_bytes()
    for wrong in (
        b"GGML" + content[4:],
        content[:4] + b"\x09" + content[5:],
        b"PK\x03\x04" * 100,
        b"\x00" * 999,
    ):
        path.write_bytes(wrong)
        assert str(path) in refusal(path)
    path.write_bytes(content[:4] + np.random.default_rng(0).bytes(5000))
    assert str(path) in refusal(path)


def test_an_unknown_family(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", "newfangled", QWEN2_FACTS, qwen2_tensors())
    said = refusal(path)
    assert said == f"llama.cpp cannot open {path}: unknown model architecture: 'newfangled'"


def test_what_a_model_lacks_is_named(tmp_path: Path) -> None:
    tensors = qwen2_tensors()
    del tensors["blk.1.ffn_up.weight"]
    path = write_gguf(tmp_path / "model.gguf", "qwen2", QWEN2_FACTS, tensors)
    assert f"{path}: tensor 'blk.1.ffn_up.weight' not found" in refusal(path)
    facts = {key: value for key, value in QWEN2_FACTS.items() if key != "embedding_length"}
    path = write_gguf(tmp_path / "model.gguf", "qwen2", facts, qwen2_tensors())
    assert "qwen2.embedding_length" in refusal(path)
    tensors = qwen2_tensors() | {"blk.0.attn_q.weight": np.zeros((32, 16))}
    path = write_gguf(tmp_path / "model.gguf", "qwen2", QWEN2_FACTS, tensors)
    assert "blk.0.attn_q.weight" in refusal(path)
    assert "cannot" in refusal(path, dtype="float32")


def test_a_cache_that_no_memory_holds(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    backend = open_model(write_qwen2(tmp_path / "model.gguf", context_length=2_000_000_000))
    # two layers with one head of 8 numbers, twice, in two bytes each
    with pytest.raises(
        JobFailed, match=r"of 2000000000 tokens in f16 \(128\.0 GB, and .* are left\): another"
    ):
        backend._engine._reserve(2_000_000_000)
    backend.close()
