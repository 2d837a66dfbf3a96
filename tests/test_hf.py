"""The hf backend against plain float64 passes of transformers, over the kinds of architecture there are."""

from __future__ import annotations

import functools
import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the hf backend needs torch")
transformers = pytest.importorskip("transformers", reason="the hf backend needs transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from slmeval.errors import JobFailed, ModelError  # noqa: E402
from slmeval.sampling import Sampler  # noqa: E402
from slmeval.tokenizing import read_tokenizer  # noqa: E402
from slmeval.types import (  # noqa: E402
    Completion,
    GenerationSettings,
    Likelihood,
    ModelRef,
    Prompt,
    ScoreGroup,
    TokenIds,
)
from slmeval_hf import HFBackend, slmeval_register_backends  # noqa: E402
from slmeval_hf.forest_passes import ForestPasses  # noqa: E402
from slmeval_hf.passes import Passes  # noqa: E402

VOCABULARY = 97
CONTEXT = 64
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
SMALL_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
SMALL_BLOOM = {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}
SMALL_MAMBA = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}

#: grouped heads; tied head; learned positions; partial rotation; windows and capped logits; a window that
#: the prompts overflow; scaled logits; biases by distance; a state that is no cache of keys and values
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SMALL),
    "qwen2": lambda: transformers.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(**SMALL_GPT2),
    "neox": lambda: transformers.GPTNeoXConfig(**SMALL),
    "gemma2": lambda: transformers.Gemma2Config(
        **SMALL, head_dim=8, sliding_window=6, final_logit_softcapping=2.0
    ),
    "mistral": lambda: transformers.MistralConfig(**SMALL, sliding_window=6),
    "granite": lambda: transformers.GraniteConfig(**SMALL, logits_scaling=3.0),
    "bloom": lambda: transformers.BloomConfig(**SMALL_BLOOM),
    "mamba": lambda: transformers.MambaConfig(**SMALL_MAMBA),
}

Folders = Callable[[str], Path]
#: by kind and dtype
Oracles = Callable[[str, str], Any]
Opened = Callable[[str], HFBackend]
Expected = Callable[[str], list[Likelihood]]


def write_model(folder: Path, config: Any) -> Path:
    """A folder with random weights, large enough that the predictions are far from even."""
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.25)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of each kind of model, made when first asked for."""
    root = tmp_path_factory.mktemp("hf")

    @functools.cache
    def folder(kind: str) -> Path:
        return write_model(root / kind, CONFIGS[kind]())

    return folder


@pytest.fixture(scope="session")
def oracles(folders: Folders) -> Oracles:
    """The model of each kind as transformers opens it, by the name of its dtype."""

    @functools.cache
    def oracle(kind: str, dtype: str) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(folders(kind), dtype=dtype).eval()

    return oracle


def open_model(folder: Path | str, *, revision: str | None = None, **options: Any) -> HFBackend:
    defaults = {option.name: option.default for option in HFBackend.options}
    return HFBackend(ModelRef(str(folder), revision), defaults | options)


@pytest.fixture(scope="session")
def opened(folders: Folders) -> Opened:
    """A backend for each kind, for tests that leave it as it was."""
    return functools.cache(lambda kind: open_model(folders(kind)))


def some_ids(count: int, seed: int) -> TokenIds:
    return tuple(random.Random(seed).randrange(3, VOCABULARY) for _ in range(count))


def some_groups() -> list[ScoreGroup]:
    """Contexts of several lengths behind 20 tokens in common, with none to four continuations."""
    start = some_ids(20, 0)
    tails = [((5, 1), (4, 1, 9, 3)), ((17, 2), (6,)), ((1, 3), (2, 7)), ((5, 4), ()), ((9, 5), (1, 1))]
    return [
        ScoreGroup(start + some_ids(*tail), tuple(some_ids(length, 10 * length + at) for length in lengths))
        for at, (tail, lengths) in enumerate(tails)
    ]


@pytest.fixture(scope="session")
def expected(oracles: Oracles) -> Expected:
    """What a plain float64 pass over each of ``some_groups`` with each continuation gives."""

    @functools.cache
    def likelihoods(kind: str) -> list[Likelihood]:
        model = oracles(kind, "float64")
        return [plain(model, group.context, ids) for group in some_groups() for ids in group.continuations]

    return likelihoods


def plain(model: Any, context: TokenIds, continuation: TokenIds) -> Likelihood:
    """One pass over one sequence, the log-softmax in float64."""
    with torch.inference_mode():
        logits = model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1].double()
    targets = torch.tensor(continuation)
    found = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    return Likelihood(tuple(found.tolist()), bool((logits.argmax(-1) == targets).all()))


def greedy(model: Any, prompt: TokenIds, count: int) -> TokenIds:
    """What transformers' own generation writes."""
    ids = torch.tensor([prompt])
    settings = transformers.GenerationConfig(do_sample=False, max_new_tokens=count, pad_token_id=0)
    with torch.inference_mode():
        made = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    return tuple(made[0, len(prompt) :].tolist())


def as_text(ids: Sequence[int]) -> str:
    return "".join(chr(0x100 + token) for token in ids)


def write(backend: HFBackend, prompts: Sequence[TokenIds], **settings: Any) -> list[Completion]:
    return list(backend.generate([Prompt(ids) for ids in prompts], GenerationSettings(**settings), as_text))


# ---- scoring ---------------------------------------------------------------------------------------


#: mamba's recurrence is computed in float32 whatever the dtype, and then moves with the batch; so are the
#: weights of gemma2's attention by transformers, though not by us
TOLERANCES = {"mamba": 1e-5, "gemma2": 1e-6}


@pytest.mark.parametrize(("kind", "tolerance"), [(kind, TOLERANCES.get(kind, 1e-9)) for kind in CONFIGS])
def test_scores_in_float64_equal_a_plain_pass_over_each_sequence(
    kind: str, tolerance: float, folders: Folders, expected: Expected
) -> None:
    answers = open_model(folders(kind), dtype="float64").score(some_groups())
    found = [likelihood for likelihoods in answers for likelihood in likelihoods]
    for one, other in zip(found, expected(kind), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=tolerance)
        assert one.greedy == other.greedy


@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_in_float32_are_within_a_ten_thousandth_of_float64(
    kind: str, opened: Opened, expected: Expected
) -> None:
    assert opened(kind).model_info().dtype == "float32"
    found = logprobs(list(opened(kind).score(some_groups())))
    assert found == pytest.approx([likelihood.logprob for likelihood in expected(kind)], abs=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_that_cannot_run_a_tree_of_tokens_says_how_it_is_run(kind: str, opened: Opened) -> None:
    # biases by distance are no part of the attention that transformers lets one replace
    said = {"mamba": ["no pass is shared, "], "bloom": ["questions are run apart "]}
    notes = opened(kind).notes()
    assert [any(map(note.startswith, said.get(kind, ()))) for note in notes] == [True] * len(
        said.get(kind, ())
    )


#: beyond 24 tokens: rotary factors by the longest sequence of a pass; queries scaled by their column
LONG_FACTORS = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
BEYOND: dict[str, Callable[[], Any]] = {
    "longrope": lambda: transformers.Phi3Config(
        **SMALL,
        original_max_position_embeddings=24,
        rope_parameters={"rope_type": "longrope", "rope_theta": 1e4} | LONG_FACTORS,
    ),
    "llama4": lambda: transformers.Llama4TextConfig(
        **SMALL,
        intermediate_size_mlp=48,
        num_local_experts=1,
        head_dim=8,
        no_rope_layers=[1, 0],
        layer_types=["full_attention"] * 2,
        floor_scale=25,
        attn_scale=0.5,
    ),
}


@pytest.mark.parametrize("way", ["auto", "sdpa"])
@pytest.mark.parametrize("kind", BEYOND)
def test_what_a_pass_would_change_by_its_length_is_run_alone(kind: str, way: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / kind, BEYOND[kind]())
    backend = open_model(folder, attention=way)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    short = [ScoreGroup(some_ids(length, length), (some_ids(5, 1), some_ids(3, 2))) for length in (3, 9, 19)]
    long = [ScoreGroup(some_ids(length, length), (some_ids(5, 3), some_ids(2, 4))) for length in (24, 45)]
    for groups in (short, [*short, *long], long, short):
        expected = [plain(model, group.context, ids) for group in groups for ids in group.continuations]
        assert logprobs(list(backend.score(groups))) == pytest.approx(
            [each.logprob for each in expected], abs=1e-4
        )
    prompts = [some_ids(length, length) for length in (5, 30)]
    made = write(backend, prompts, max_tokens=6)
    assert [completion.ids for completion in made] == [greedy(model, prompt, 6) for prompt in prompts]
    found = list(backend.top_logprobs(prompts[1], 1))
    assert [each.ids[0] for each in found] == model(torch.tensor([prompts[1]])).logits[0].argmax(-1).tolist()
    (note,) = [note for note in backend.notes() if "run whole" in note]
    assert note.startswith(
        {"longrope": "sequences of more than 24 tokens", "llama4": "no pass is shared"}[kind]
    )


def test_a_model_whose_layers_differ_in_width_is_opened(tmp_path: Path) -> None:
    shape = {
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "num_kv_shared_layers": 0,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.0, 0.0],
        "sliding_window": 6,
    }
    config = transformers.Gemma3nTextConfig(**SMALL | {"intermediate_size": [48, 48]}, **shape)
    folder = write_model(tmp_path / "gemma3n", config)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float64").eval()
    expected = [plain(model, group.context, ids) for group in some_groups() for ids in group.continuations]
    found = logprobs(list(open_model(folder, dtype="float64").score(some_groups())))
    assert found == pytest.approx([each.logprob for each in expected], abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_the_same_call_gives_the_same_bits_also_from_a_model_opened_again(
    kind: str, folders: Folders
) -> None:
    first, second = open_model(folders(kind)), open_model(folders(kind))
    once = list(first.score(some_groups()))
    assert once == list(first.score(some_groups())) == list(second.score(some_groups()))


@pytest.mark.parametrize("kind", ["llama", "mistral", "mamba"])
def test_neither_the_order_nor_the_company_of_a_group_matters(
    kind: str, folders: Folders, opened: Opened
) -> None:
    backend, groups = opened(kind), some_groups()
    together = list(backend.score(groups))
    backwards = list(backend.score(groups[::-1]))[::-1]
    alone = [next(backend.score([group])) for group in groups]
    small = list(open_model(folders(kind), batch_tokens=40).score(groups))
    for other in (backwards, alone, small):
        assert logprobs(other) == pytest.approx(logprobs(together), abs=1e-4)


@pytest.mark.parametrize(("kind", "way"), [("llama", "auto"), ("gpt2", "auto"), ("llama", "sdpa")])
def test_a_long_continuation_is_run_in_pieces_as_large_as_its_logits_may_be(
    kind: str, way: str, folders: Folders, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("batching", "room"):
        monkeypatch.setattr(f"slmeval_hf.{module}.LOGITS", 4 * VOCABULARY)
    backend = open_model(folders(kind), dtype="float64", attention=way)
    shapes = []

    def watched(method: Any) -> Any:
        def call(*given: Any) -> Any:
            result = method(*given)
            shapes.append((result[0] if isinstance(result, tuple) else result).numel() // VOCABULARY)
            return result

        return call

    monkeypatch.setattr(Passes, "extend", watched(Passes.extend))
    monkeypatch.setattr(ForestPasses, "run", watched(ForestPasses.run))
    found = [likelihood for likelihoods in backend.score(some_groups()) for likelihood in likelihoods]
    for one, other in zip(found, expected(kind), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-9)
        assert one.greedy == other.greedy
    # the longest continuation has nine tokens
    assert max(shapes) == 4


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "mamba"])
def test_the_likeliest_next_tokens_are_those_of_a_plain_pass(
    kind: str, folders: Folders, oracles: Oracles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the logits of eleven tokens are then made in several pieces
    monkeypatch.setattr("slmeval_hf.batching.LOGITS", 4 * VOCABULARY)
    ids = some_ids(11, 1)
    with torch.inference_mode():
        rows = oracles(kind, "float64")(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    found = list(open_model(folders(kind), dtype="float64").top_logprobs(ids, VOCABULARY))
    assert len(found) == len(ids)
    for each, row in zip(found, rows, strict=True):
        assert list(each.logprobs) == sorted(each.logprobs, reverse=True)
        assert each.logprobs == pytest.approx(row[list(each.ids)].tolist(), abs=1e-5)
        assert sum(map(math.exp, each.logprobs)) == pytest.approx(1, abs=1e-6)
    first = next(open_model(folders(kind), dtype="float64").top_logprobs(ids, 3))
    assert first.ids == found[0].ids[:3]


@pytest.mark.parametrize(
    ("ids", "k"), [((), 1), ((1,), 0), ((1,), VOCABULARY + 1), ((VOCABULARY,), 1), ((1,) * (CONTEXT + 1), 1)]
)
def test_the_likeliest_tokens_of_what_does_not_fit_are_refused(ids: TokenIds, k: int, opened: Opened) -> None:
    with pytest.raises(ValueError, match=r"token"):
        opened("llama").top_logprobs(ids, k)


def logprobs(answers: Sequence[Sequence[Likelihood]]) -> list[float]:
    return [likelihood.logprob for likelihoods in answers for likelihood in likelihoods]


@pytest.mark.parametrize("kind", ["gpt2", "mamba"])
def test_an_empty_continuation_is_certain_and_equal_ones_are_equal_to_the_bit(
    kind: str, opened: Opened
) -> None:
    same = some_ids(5, 1)
    (answer,) = opened(kind).score([ScoreGroup(some_ids(4, 2), (same, (), some_ids(9, 3), same))])
    assert answer[1] == Likelihood((), True)
    assert answer[1].logprob == 0
    assert answer[0] == answer[3]


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_what_greedy_decoding_writes_is_greedy_and_one_token_off_is_not(
    kind: str, opened: Opened, oracles: Oracles
) -> None:
    context = some_ids(7, 4)
    written = greedy(oracles(kind, "float32"), context, 4)
    off = (*written[:2], (written[2] + 1) % VOCABULARY, written[3])
    (answer,) = opened(kind).score([ScoreGroup(context, (written, off))])
    assert [likelihood.greedy for likelihood in answer] == [True, False]


@contextmanager
def embedded_tokens() -> Iterator[list[int]]:
    """How many tokens are looked up in any embedding of ids, pass by pass."""
    counts: list[int] = []

    def count(module: Any, args: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings == VOCABULARY:
            counts.append(args[0].numel())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield counts
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("way", "passes"),
    # each token in one pass; or the examples, then 6 tokens of each context, then 2 of each continuation: the
    # third is only predicted
    [("auto", [None]), ("sdpa", [40, 5 * 6, 5 * 4 * 2])],
)
def test_what_contexts_share_is_run_once_and_each_context_once_for_its_continuations(
    way: str, passes: list[int | None], folders: Folders
) -> None:
    start = some_ids(40, 0)
    groups = [
        ScoreGroup(start + some_ids(6, seed), tuple(some_ids(3, 10 * seed + at) for at in range(4)))
        for seed in range(1, 6)
    ]
    asked = [group.context + tokens[:-1] for group in groups for tokens in group.continuations]
    distinct = {ids[:end] for ids in asked for end in range(1, len(ids) + 1)}
    backend = open_model(folders("llama"), attention=way)
    with embedded_tokens() as counts:
        list(backend.score(groups))
    assert counts == [len(distinct) if count is None else count for count in passes]


@pytest.mark.parametrize(
    ("way", "passes"),
    # in steps of 8 tokens; what is beyond the last whole one is run with each unit
    [("auto", [8, 8, 8, 6 + 2 * 2, 6 + 2 * 2]), ("sdpa", [30, 4, 4])],
)
def test_the_shared_examples_stay_for_the_units_that_follow(
    way: str, passes: list[int], folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval_hf.trunk.STEP", 8)
    start = some_ids(30, 0)
    units = [[Prompt((*start, 3 * unit + at, 9)) for at in (1, 2)] for unit in (1, 2)]
    backend = open_model(folders("llama"), attention=way)
    with embedded_tokens() as counts:
        for unit in units:
            list(backend.generate(unit, GenerationSettings(max_tokens=1), as_text))
    assert counts == passes


def test_a_trunk_has_the_same_bits_whatever_trunk_was_before_it(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval_hf.trunk.STEP", 8)
    long, short = some_ids(30, 0), some_ids(30, 0)[:19]
    units = [
        [ScoreGroup(start + some_ids(3, 9 + at), ((1, 2), (3, 4))) for at in (1, 2)]
        for start in (long, short, some_ids(30, 1), long)
    ]
    fresh = [list(open_model(folders("llama")).score(unit)) for unit in units]
    backend = open_model(folders("llama"))
    assert [list(backend.score(unit)) for unit in units] == fresh


# ---- generation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "gemma2", "mistral", "bloom", "mamba"])
def test_greedy_text_equals_that_of_transformers_for_prompts_of_any_length(
    kind: str, opened: Opened, oracles: Oracles
) -> None:
    start = some_ids(18, 6)
    prompts = [start + some_ids(length, length) for length in (1, 9, 4, 9)]
    made = write(opened(kind), prompts, max_tokens=8)
    model = oracles(kind, "float32")
    assert [completion.ids for completion in made] == [greedy(model, prompt, 8) for prompt in prompts]
    assert {completion.reason for completion in made} == {"length"}


def drawn(model: Any, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
    """What is drawn from a plain pass over all tokens for each next one."""
    sampler, ids = Sampler(settings, prompt.seed), prompt.ids
    with torch.inference_mode():
        for _ in range(settings.max_tokens):
            ids = (*ids, sampler.draw(model(torch.tensor([ids])).logits[0, -1].float().numpy()))
    return ids[len(prompt.ids) :]


SAMPLED = GenerationSettings(max_tokens=8, temperature=0.8, top_p=0.95)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "gemma2", "mistral", "bloom", "mamba"])
def test_texts_are_drawn_from_the_logits_of_each_step_by_the_prompts_seed(
    kind: str, opened: Opened, oracles: Oracles
) -> None:
    start = some_ids(18, 6)
    # three prompts, two of them asked three times, in one call
    prompts = [Prompt(start + some_ids(length, length), seed=seed) for length in (4, 9) for seed in range(3)]
    prompts.insert(2, Prompt(start[:3], seed=5))
    made = list(opened(kind).generate(prompts, SAMPLED, as_text))
    assert [each.ids for each in made] == [
        drawn(oracles(kind, "float32"), prompt, SAMPLED) for prompt in prompts
    ]
    assert len({each.ids for each in made}) == len(prompts)
    assert list(opened(kind).generate(prompts[1:2], SAMPLED, as_text)) == made[1:2]


@pytest.mark.parametrize("way", ["auto", "sdpa"])
def test_a_prompt_of_which_several_texts_are_drawn_is_run_once(way: str, folders: Folders) -> None:
    start, ends = some_ids(20, 6), (some_ids(4, 1), some_ids(4, 2))
    prompts = [Prompt(start + end, seed=seed) for end in ends for seed in range(5)]
    settings = GenerationSettings(max_tokens=2, temperature=0.8)
    backend = open_model(folders("llama"), attention=way)
    with embedded_tokens() as counts:
        list(backend.generate(prompts, settings, as_text))
    # what both prompts begin with, what follows it in each, and a token of each text
    assert sum(counts) == 20 + 2 * 4 + len(prompts)


@pytest.mark.parametrize("places", [1, 2, 3, 5])
def test_texts_are_the_same_however_many_are_written_at_once(
    places: int, opened: Opened, oracles: Oracles, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [some_ids(length, length) for length in (50, 2, 30, 3, 1, 2, 9, 61, 9)]
    expected = [greedy(oracles("llama", "float32"), ids, min(6, CONTEXT - len(ids))) for ids in prompts]
    # texts then end at different times, and others take their places beside those that go on
    end = expected[0][2]
    cut = [ids[: ids.index(end) + 1] if end in ids else ids for ids in expected]
    monkeypatch.setattr("slmeval_hf.room.TEXTS", places)
    assert [made.ids for made in write(opened("llama"), prompts, max_tokens=6)] == expected
    assert [made.ids for made in write(opened("llama"), prompts, max_tokens=6, end_ids=(end,))] == cut


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_a_stop_string_over_several_tokens_ends_one_text_and_not_the_others(
    kind: str, opened: Opened
) -> None:
    backend = opened(kind)
    prompts = [some_ids(6, 1), some_ids(11, 2), some_ids(3, 5)]
    free = write(backend, prompts, max_tokens=10)
    stop = free[1].text[4:7]
    assert stop not in free[0].text + free[2].text
    stopped = write(backend, prompts, max_tokens=10, stop=("never", stop))
    assert stopped[1] == Completion(
        free[1].text[: free[1].text.index(stop)], free[1].ids[: free[1].text.index(stop) + 3], "stop"
    )
    assert [stopped[0].ids, stopped[2].ids] == [free[0].ids, free[2].ids]


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_an_end_token_ends_a_text_and_stands_among_its_ids(kind: str, opened: Opened) -> None:
    backend, prompt = opened(kind), some_ids(6, 1)
    (free,) = write(backend, [prompt], max_tokens=8)
    end = free.ids[3]
    (ended,) = write(backend, [prompt], max_tokens=8, end_ids=(end,))
    assert (ended.ids, ended.reason) == (free.ids[: free.ids.index(end) + 1], "end")


@pytest.mark.parametrize("way", ["cached", "plainly"])
def test_a_model_whose_weights_are_no_numbers_writes_no_text(way: str, folders: Folders) -> None:
    backend = open_model(folders("llama" if way == "cached" else "mamba"))
    with torch.no_grad():
        next(iter(backend._engine._passes.model.parameters())).fill_(math.nan)
    with pytest.raises(JobFailed, match="logits are not numbers"):
        write(backend, [some_ids(6, 1)], max_tokens=4)


@pytest.mark.parametrize(("length", "most", "written"), [(60, 20, 4), (64, 20, 0), (5, 0, 0), (5, 3, 3)])
def test_a_text_ends_at_the_token_cap_and_where_the_context_is_full(
    length: int, most: int, written: int, opened: Opened
) -> None:
    for kind in ("gpt2", "llama"):
        short, long = write(opened(kind), [(5, 6), some_ids(length, 1)], max_tokens=most)
        assert (len(long.ids), long.reason) == (written, "length")
        assert len(short.ids) == most


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_settings_for_generation_in_the_checkpoint_are_not_used(
    kind: str, folders: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders(kind), tmp_path / "model")
    prompts = [some_ids(6, 1)]
    (free,) = write(open_model(folder), prompts, max_tokens=8)
    wilful = {"repetition_penalty": 9.0, "do_sample": True, "eos_token_id": free.ids[2], "max_length": 8}
    (folder / "generation_config.json").write_text(json.dumps(wilful))
    assert write(open_model(folder), prompts, max_tokens=8) == [free]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (ScoreGroup((), ((5,),)), "at least one"),
        (ScoreGroup((5, VOCABULARY), ((5,),)), "vocabulary of 97"),
        (ScoreGroup((5,), ((-1,),)), "vocabulary of 97"),
        (ScoreGroup(some_ids(60, 1), (some_ids(6, 1),)), "65 tokens do not fit the model's context of 64"),
    ],
)
def test_a_group_that_does_not_fit_the_model_is_refused(
    group: ScoreGroup, words: str, opened: Opened
) -> None:
    with pytest.raises(ValueError, match=words):
        opened("gpt2").score([group])


def test_a_continuation_may_reach_one_token_beyond_the_context(folders: Folders, oracles: Oracles) -> None:
    context, continuation = some_ids(60, 1), some_ids(5, 2)
    (answer,) = open_model(folders("llama"), dtype="float64").score([ScoreGroup(context, (continuation,))])
    expected = plain(oracles("llama", "float64"), context, continuation)
    assert answer[0].token_logprobs == pytest.approx(expected.token_logprobs, abs=1e-9)


# ---- memory ----------------------------------------------------------------------------------------


def test_how_many_texts_are_written_at_once_is_not_told_by_the_memory_of_the_moment(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, sizes = open_model(folders("llama")), []
    run = ForestPasses.run

    def watched(*given: Any) -> Any:
        sizes.append(len(given[1]))
        return run(*given)

    monkeypatch.setattr(ForestPasses, "run", watched)
    prompts = [some_ids(length, length) for length in (8, 12, 3, 5, 10)]
    write(backend, prompts, max_tokens=4)
    before = sizes.copy()
    sizes.clear()
    for module in ("engine", "room"):
        monkeypatch.setattr(f"slmeval_hf.{module}.free_memory", lambda _: 30_000, raising=False)
    write(backend, prompts, max_tokens=4)
    assert sizes == before


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@contextmanager
def little_memory(model: type, tokens: int, error: Exception) -> Iterator[list[int]]:
    """A machine that has no memory for passes over more ``tokens``, cached ones included; the refusals."""
    forward, refused = model.forward, []  # type: ignore[attr-defined]

    @functools.wraps(forward)
    def limited(self: Any, **inputs: Any) -> Any:
        mask = inputs.get("attention_mask")
        held = (inputs["input_ids"] if mask is None else mask).numel()
        if held > tokens:
            refused.append(held)
            raise error
        return forward(self, **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "forward", limited)
        yield refused


def class_of(kind: str) -> type:
    classes = {
        "llama": transformers.LlamaForCausalLM,
        "mamba": transformers.MambaForCausalLM,
    }
    return classes[kind]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("way", "tokens"), [("auto", 40), ("sdpa", 100)])
def test_a_batch_that_does_not_fit_in_memory_is_halved_and_later_ones_too(
    way: str, tokens: int, error: Exception, folders: Folders
) -> None:
    groups = some_groups()
    expected = list(open_model(folders("llama"), dtype="float64").score(groups))
    with little_memory(class_of("llama"), tokens, error) as refused:
        backend = open_model(folders("llama"), dtype="float64", attention=way)
        notes = backend.notes()
        assert logprobs(list(backend.score(groups))) == pytest.approx(logprobs(expected), abs=1e-9)
        assert refused
        refused.clear()
        list(backend.score(groups))
        assert not refused
    (note,) = set(backend.notes()) - set(notes)
    assert note.startswith("batch halved to ")
    assert note.endswith(" tokens after running out of memory")


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_texts_are_the_same_when_their_batch_was_halved(kind: str, folders: Folders) -> None:
    prompts = [some_ids(length, length) for length in (8, 12, 3, 5, 10)]
    expected = write(open_model(folders(kind)), prompts, max_tokens=8)
    with little_memory(class_of(kind), 50, OUT_OF_MEMORY[0]):
        assert write(open_model(folders(kind)), prompts, max_tokens=8) == expected


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_no_pass_holds_more_tokens_than_a_batch_may(kind: str, folders: Folders) -> None:
    backend = open_model(folders(kind), batch_tokens=100)
    with little_memory(class_of(kind), 100, OUT_OF_MEMORY[0]) as refused:
        list(backend.score(some_groups()))
        write(backend, [some_ids(length, length) for length in (8, 12, 3, 5, 10)], max_tokens=8)
    assert not refused


@pytest.mark.parametrize(
    ("way", "tokens", "alone"), [("auto", 0, "token"), ("sdpa", 20, "sequence of 37 tokens")]
)
def test_what_does_not_fit_in_memory_alone_ends_the_job_in_one_sentence(
    way: str, tokens: int, alone: str, folders: Folders
) -> None:
    backend = open_model(folders("llama"), attention=way)
    with (
        little_memory(class_of("llama"), tokens, OUT_OF_MEMORY[0]),
        pytest.raises(JobFailed, match=f"memory ran out with a single {alone}: take another device"),
    ):
        list(backend.score(some_groups()))


def test_a_lack_of_memory_for_the_texts_under_way_names_the_option(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OUT_OF_MEMORY[0]

    backend = open_model(folders("llama"))
    monkeypatch.setattr("slmeval_hf.forest_generation.Slots", refused)
    with pytest.raises(JobFailed, match="while 2 texts were written: say with -o batch_tokens"):
        write(backend, [some_ids(8, 1), some_ids(5, 2)], max_tokens=4)


def test_another_error_of_the_engine_is_not_taken_for_a_lack_of_memory(folders: Folders) -> None:
    backend = open_model(folders("llama"))
    with (
        little_memory(transformers.LlamaForCausalLM, 20, RuntimeError("a device-side assert")),
        pytest.raises(RuntimeError, match="device-side assert"),
    ):
        list(backend.score(some_groups()))


# ---- opening ---------------------------------------------------------------------------------------


def changed_config(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def changed_tensors(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return rewrite


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


OWN_CODE = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            changed_tensors(lambda tensors: tensors.pop("model.norm.weight")),
            r"no weights for model\.norm\.weight$",
        ),
        (changed_config(num_hidden_layers=3), r"no weights for model\.layers\.2\..* and 6 more$"),
        (
            changed_config(intermediate_size=56),
            # transformers 4 knows no shapes
            r"denies: .*mlp\.down_proj\.weight( \(\[32, 48\] stored, \[32, 56\] wanted\))?, .* and 3 more$",
        ),
        (changed_config(model_type="zork"), "does not recognize this architecture"),
        (changed_config(model_type="t5"), "Unrecognized configuration class"),
        (changed_config(model_type="zork", auto_map=OWN_CODE), "-o trust_remote_code=true$"),
        (changed_config(num_attention_heads=0), "cannot be opened: "),
        (changed_config(hidden_size="wide"), "hidden_size|tuple of ints"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON file"),
        (lambda folder: (folder / "config.json").unlink(), "cannot be opened: "),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no file named .*model\.safetensors"),
        (cut_short, "incomplete metadata, file not fully covered"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "header too small"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_or_unsuitable_folder_is_refused_in_one_sentence(
    damage: Callable[[Path], object], words: str, folders: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=words) as caught:
        open_model(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' is not there"),
        ({"device": "gpu"}, "device 'gpu' is none: take auto, cpu, cuda"),
        ({"attention": "zork"}, "cannot be opened: .*zork"),
    ],
)
def test_an_option_that_cannot_be_had_here_is_refused(
    options: dict[str, Any], words: str, folders: Folders
) -> None:
    with pytest.raises(ModelError, match=words):
        open_model(folders("llama"), **options)


def test_a_place_that_is_no_model_is_refused(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the wire to the hub is cut
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    weights = folders("llama") / "model.safetensors"
    for location, words in [
        (str(tmp_path / "absent"), "there is no folder .*absent$"),
        ("./absent", r"there is no folder \./absent$"),
        (str(weights), "is a file, and the hf backend opens folders and hub ids$"),
        ("nobody/nothing", "nobody/nothing cannot be opened: .* the hub cannot be reached$"),
    ]:
        with pytest.raises(ModelError, match=words):
            open_model(location)
    with pytest.raises(ModelError, match=r"is a folder, and has no revision 'v2'$"):
        open_model(folders("llama"), revision="v2")


def test_tensors_that_the_model_does_not_use_are_named_in_a_note(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    changed_tensors(lambda tensors: tensors.update({"value_head.weight": torch.ones(3)}))(folder)
    assert open_model(folder).notes() == (
        "the checkpoint holds tensors that the model does not use: value_head.weight",
    )


def test_opening_and_asking_prints_nothing(folders: Folders, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in ("llama", "mamba"):
        backend = open_model(folders(kind))
        list(backend.score(some_groups()))
        write(backend, [some_ids(4, 1)], max_tokens=3)
        backend.close()
    assert capfd.readouterr() == ("", "")


#: a model that forgets what it has seen, except in a pass over the whole
FORGETFUL = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, **rest):
        if past_key_values is not None and past_key_values.get_seq_length():
            {misdeed}
        return super().forward(input_ids, attention_mask, position_ids, past_key_values, **rest)
"""


@pytest.fixture
def code_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers copies code to, and what it does to the path of imports."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.usefixtures("code_cache")
@pytest.mark.parametrize(
    ("misdeed", "words"),
    [
        ("position_ids = position_ids * 0", "log-probabilities differ by "),
        ("raise TypeError('tuples only')", "with the cache it fails: TypeError"),
    ],
)
def test_code_that_comes_with_a_model_runs_when_allowed_and_its_cache_only_when_it_is_right(
    misdeed: str,
    words: str,
    folders: Folders,
    expected: Expected,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / f"own{len(words)}")
    changed_config(model_type="own", auto_map=OWN_CODE)(folder)
    (folder / "own.py").write_text(FORGETFUL.format(misdeed=misdeed))
    backend = open_model(folder, trust_remote_code=True, dtype="float64")
    assert backend.model_info().architecture == "OwnForCausalLM"
    assert [note for note in backend.notes() if words in note]
    likelihoods = [likelihood.logprob for likelihood in expected("llama")]
    assert logprobs(list(backend.score(some_groups()))) == pytest.approx(likelihoods, abs=1e-9)


# ---- what was opened -------------------------------------------------------------------------------


def test_the_model_is_described_with_tied_weights_counted_once(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("qwen2"), tmp_path / "model")
    info = open_model(folder).model_info()
    table = VOCABULARY * 32
    assert (info.architecture, info.dtype, info.device) == ("Qwen2ForCausalLM", "float32", "cpu")
    assert (info.context, info.vocabulary, info.engine) == (CONTEXT, VOCABULARY, "transformers")
    assert info.engine_version.startswith(transformers.__version__)
    assert info.parameters == info.parameters_stored
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    twice = open_model(folder).model_info()
    assert (twice.parameters, twice.parameters_stored) == (info.parameters, info.parameters + table)


def test_shards_are_counted_by_the_index_and_other_forms_of_the_weights_are_not(
    folders: Folders, tmp_path: Path
) -> None:
    whole = open_model(folders("llama")).model_info()
    model = transformers.AutoModelForCausalLM.from_pretrained(folders("llama"))
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    shutil.copy(folders("llama") / "model.safetensors", tmp_path / "consolidated.safetensors")
    assert open_model(tmp_path).model_info() == whole


def test_weights_of_the_older_form_are_opened_too(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("qwen2"), tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    info = open_model(folder).model_info()
    assert info.parameters_stored == info.parameters + VOCABULARY * 32


@pytest.mark.parametrize(("limit", "context"), [(None, 2048), (512, 512), (10**30, 2048)])
def test_a_context_that_the_config_lacks_is_the_tokenizers_or_lm_evals_default(
    limit: int | None, context: int, folders: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("mamba"), tmp_path / "model")
    if limit is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    assert open_model(folder).model_info().context == context


@pytest.mark.parametrize(
    ("stored", "asked", "used"),
    [
        ("float16", "auto", "float16"),
        ("bfloat16", "auto", "bfloat16"),
        ("float16", "float32", "float32"),
        ("float32", "bfloat16", "bfloat16"),
        ("bfloat16", "float64", "float64"),
    ],
)
def test_the_dtype_is_the_checkpoints_or_the_one_asked_for(
    stored: str, asked: str, used: str, folders: Folders, tmp_path: Path
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folders("llama"), dtype=stored)
    model.save_pretrained(tmp_path)
    context, continuation = some_ids(8, 1), some_ids(3, 2)
    expected = plain(model.double(), context, continuation)
    backend = open_model(tmp_path, dtype=asked)
    assert backend.model_info().dtype == used
    assert backend.notes() == ()
    (answer,) = backend.score([ScoreGroup(context, (continuation,))])
    tolerance = {"float16": 0.02, "bfloat16": 0.2}.get(used, 1e-4)
    assert math.isclose(answer[0].logprob, expected.logprob, abs_tol=tolerance)


def words_tokenizer(folder: Path, *, lower: bool = False) -> None:
    """A tokenizer of single characters, as transformers writes it."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    alphabet = {chr(code): at for at, code in enumerate(range(32, 127))}
    inner = Tokenizer(models.WordLevel({**alphabet, "[UNK]": 95}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    if lower:
        inner.normalizer = normalizers.Lowercase()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(folder)


def test_the_tokenizer_is_compared_with_that_of_the_folder(folders: Folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    words_tokenizer(tmp_path / "lower", lower=True)
    other = read_tokenizer(tmp_path / "lower", "lower")
    assert open_model(folder).verify_tokenizer(other) is None
    words_tokenizer(folder)
    backend = open_model(folder)
    assert backend.verify_tokenizer(read_tokenizer(folder, "its own")) is None
    difference = backend.verify_tokenizer(other)
    assert difference is not None
    assert difference.startswith("'The quick brown fox jumps over")
    assert "(with special tokens) is [84, " in difference
    assert " here, and [52, " in difference


def test_a_tokenizer_that_transformers_cannot_open_is_noted_not_compared(
    folders: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    words_tokenizer(tmp_path / "sound")
    (folder / "tokenizer.json").write_text("{}")
    backend = open_model(folder)
    assert backend.verify_tokenizer(read_tokenizer(tmp_path / "sound", "sound")) is None
    (note,) = backend.notes()
    assert note.startswith("the tokenizer was not compared with the engine's own: transformers cannot open")


# ---- the plugin ------------------------------------------------------------------------------------


def test_the_plugin_brings_one_backend_that_is_preferred_to_the_oracle() -> None:
    assert list(slmeval_register_backends()) == [HFBackend]
    assert HFBackend.preference > 0
    assert HFBackend.missing() is None


def test_the_plugin_imports_no_engine_and_names_what_is_missing() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import slmeval_hf, importlib.util\n"
        "slmeval_hf.find_spec = lambda name: None if name == 'torch' else importlib.util.find_spec('json')\n"
        "print(slmeval_hf.HFBackend.missing())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "torch not installed\n"


def test_the_fingerprint_holds_versions_and_what_auto_means_here() -> None:
    defaults = {option.name: option.default for option in HFBackend.options}
    found = HFBackend.fingerprint(defaults | {"device": "cpu"})
    assert (found["engine"], found["version"], found["torch"]) == (
        "hf",
        transformers.__version__,
        torch.__version__,
    )
    assert (found["device"], found["threads"]) == ("cpu", torch.get_num_threads())
    assert found["batch_tokens"] == defaults["batch_tokens"]
    assert HFBackend.fingerprint(defaults)["device"] != "auto"
    assert HFBackend.fingerprint(defaults | {"device": "cpu", "threads": 3})["threads"] == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("trust_remote_code", "True", True), ("trust_remote_code", "false", False), ("threads", "2", 2)],
)
def test_the_text_of_an_option_becomes_its_value(name: str, text: str, value: object) -> None:
    (option,) = [option for option in HFBackend.options if option.name == name]
    assert option.kind(text) is value


@pytest.mark.parametrize(
    ("name", "text"),
    [("trust_remote_code", "yes"), ("threads", "-1"), ("batch_tokens", "-1"), ("batch_tokens", "many")],
)
def test_the_text_of_an_option_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    (option,) = [option for option in HFBackend.options if option.name == name]
    with pytest.raises(ValueError, match=r"\S"):
        option.kind(text)


def test_the_threads_asked_for_are_used(folders: Folders) -> None:
    before = torch.get_num_threads()
    try:
        open_model(folders("llama"), threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
