"""What the llamacpp backend times: the tokens that it runs for it, its cache, and its memory meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from test_llamacpp import (
    CONTEXT,
    DEMO,
    QWEN2_FACTS,
    VOCABULARY,
    held,
    open_model,
    qwen2_tensors,
    some_ids,
    write_gemma2,
    write_gguf,
    write_mamba,
    write_qwen2,
)

from slmeval.errors import JobFailed
from slmeval.gguf_file import read_gguf
from slmeval.types import GenerationSettings, Prompt, ScoreGroup, Timing, TokenIds, Workload
from slmeval_llamacpp import LlamaCppBackend, batch
from slmeval_llamacpp import context as contexts
from slmeval_llamacpp.context import Arrays, Context
from slmeval_llamacpp.native import library

#: keys and values of the demo model's 4 layers with 2 heads of 64 numbers, in two bytes each
DEMO_KV = 2 * 4 * 2 * 64 * 2


@pytest.fixture(scope="module")
def demo() -> Iterator[LlamaCppBackend]:
    """The demo model as it is stored, F16."""
    backend = open_model(DEMO / "model.gguf")
    yield backend
    backend.close()


class Watched:
    """What was run: tokens and positions of each batch, and its logits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: list[list[int]] = []
        self.positions: list[list[int]] = []
        self.latest: Context | None = None
        decode = Context.decode

        def watched(context: Context, arrays: Arrays) -> None:
            self.latest = context
            size = arrays.batch.n_tokens
            self.tokens.append(arrays.tokens[:size].tolist())
            self.positions.append(arrays.positions[:size].tolist())
            decode(context, arrays)

        monkeypatch.setattr(Context, "decode", watched)

    def forget(self) -> None:
        self.tokens, self.positions = [], []

    def logits(self, rows: int) -> np.ndarray:
        assert self.latest is not None
        return self.latest.logits(rows).copy()

    def ends(self, sequences: int) -> list[int]:
        """The last position that is in the cache, of each sequence."""
        assert self.latest is not None
        return [
            library().llama_memory_seq_pos_max(self.latest._memory, number) for number in range(sequences)
        ]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def workload(
    length: int, new: int = 0, *, depth: int = 0, sequences: int = 1, forced: bool = False, words: int = 96
) -> Workload:
    prompts = tuple(some_ids(length, 10 + at, words) for at in range(sequences))
    given = tuple(some_ids(new, 100 + at, words) for at in range(sequences)) if forced else ()
    return Workload(prompts, new, depth, given)


def runs(backend: LlamaCppBackend, work: Workload, count: int = 1) -> list[Timing]:
    timings = backend.time(work)
    found = list(islice(timings, count))
    timings.close()  # type: ignore[attr-defined]
    return found


# ---- what is run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("sequences", [1, 3])
@pytest.mark.parametrize(("new", "depth"), [(0, 0), (1, 0), (6, 0), (0, 7), (6, 9)])
def test_times_rise_and_each_token_has_one(
    demo: LlamaCppBackend, new: int, depth: int, sequences: int, forced: bool
) -> None:
    for timing in runs(demo, workload(10, new, depth=depth, sequences=sequences, forced=forced), 3):
        assert len(timing.tokens) == new
        assert timing.prefill is not None
        times = [0.0, timing.prefill, *timing.tokens]
        assert times == sorted(times)
        assert len(set(times[1:])) >= max(new, 1)
        assert all(map(math.isfinite, times))


def written(backend: LlamaCppBackend, prompts: tuple[TokenIds, ...], new: int) -> list[TokenIds]:
    texts = backend.generate([Prompt(ids) for ids in prompts], GenerationSettings(new), str)
    return [text.ids for text in texts]


@pytest.mark.parametrize(
    ("length", "sequences", "depth"), [(12, 1, 0), (12, 3, 5), (900, 5, 0), (900, 5, 300)]
)
def test_chosen_tokens_are_those_of_a_text(length: int, sequences: int, depth: int, watched: Watched) -> None:
    """900 tokens of each: the batch of 2,048 ends within the third prompt."""
    backend = open_model(DEMO / "model.gguf", dtype="float32")
    work = workload(length, 8, depth=depth, sequences=sequences, words=VOCABULARY)
    wanted = written(backend, work.prompts, 8)
    watched.forget()
    assert len(runs(backend, work)) == 1
    steps = watched.tokens[-7:]
    assert [tuple(row) for row in zip(*steps, strict=True)] == [ids[:7] for ids in wanted]
    assert watched.positions[-7:] == [[length + step] * sequences for step in range(7)]
    before = -(-depth * sequences // 2048) + -(-(length - depth) * sequences // 2048)
    assert len(watched.tokens) == before + 7
    backend.close()


def test_given_tokens_are_run_in_place_of_chosen_ones(demo: LlamaCppBackend, watched: Watched) -> None:
    work = workload(6, 5, sequences=2, forced=True)
    runs(demo, work)
    assert watched.tokens == [
        [*work.prompts[0], *work.prompts[1]],
        *[[row[step] for row in work.forced] for step in range(4)],
    ]


@pytest.mark.parametrize("depth", [0, 40])
def test_no_run_profits_from_another(demo: LlamaCppBackend, watched: Watched, depth: int) -> None:
    work = workload(60, 5, depth=depth, sequences=3)
    timings, found = demo.time(work), []
    for _ in range(4):
        watched.forget()
        next(timings)
        assert watched.ends(3) == [work.longest - 1] * 3
        found.append((watched.tokens[-5:], watched.positions[-5:], watched.logits(3)))
        # the clock saw all tokens behind the depth
        assert sum(map(len, watched.tokens[-5:])) == 3 * (60 - depth + 4)
    # what is in the cache before the clock is run once
    assert len(watched.tokens) == 5
    for tokens, positions, logits in found[1:]:
        assert (tokens, positions) == found[0][:2]
        assert np.array_equal(logits, found[0][2])
    timings.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", ["mamba", "a short window"])
def test_what_cannot_be_rewound_is_run_again(family: str, tmp_path: Path, watched: Watched) -> None:
    path = tmp_path / "model.gguf"
    path = write_mamba(path) if family == "mamba" else write_gemma2(path, 8)
    backend = open_model(path, batch_tokens=32)
    work = workload(400, 3, depth=300, sequences=2)
    timings, found = backend.time(work), []
    for _ in range(3):
        watched.forget()
        next(timings)
        found.append((watched.tokens, watched.logits(2)))
        assert sum(map(len, watched.tokens)) == 2 * work.longest
    for tokens, logits in found[1:]:
        assert tokens == found[0][0]
        assert np.array_equal(logits, found[0][1])
    timings.close()  # type: ignore[attr-defined]
    backend.close()


def test_a_window_lets_go_of_what_has_left_it(tmp_path: Path) -> None:
    """As llama.cpp comes; answers keep all, to be rewound."""
    backend = open_model(write_gemma2(tmp_path / "model.gguf", 8), batch_tokens=32)
    list(backend.score([ScoreGroup((5,), ((6,),))]))
    whole = held(backend)["kv cache (CPU)"]
    timings = backend.time(workload(400))
    next(timings)
    # half of the layers hold 512 cells, the others 256; llama.cpp tells hundredths of a MiB
    assert held(backend)["kv cache (CPU)"] == pytest.approx(0.75 * whole, abs=0.01 * 2**20)
    backend.close()


def test_the_shortest_and_the_longest(tmp_path: Path) -> None:
    backend = open_model(write_qwen2(tmp_path / "model.gguf"))
    assert len(runs(backend, workload(1, 64))[0].tokens) == 64
    assert len(runs(backend, workload(64, 1))[0].tokens) == 1
    assert runs(backend, workload(1))[0].tokens == ()
    backend.close()


# ---- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "new", "sequences", "cells"), [(10, 5, 1, 256), (250, 7, 1, 256), (250, 8, 3, 1536)]
)
def test_memory_is_that_of_the_workload(
    demo: LlamaCppBackend, length: int, new: int, sequences: int, cells: int
) -> None:
    timings = demo.time(workload(length, new, sequences=sequences))
    next(timings)
    found = held(demo)
    assert found["kv cache room"] == cells
    assert found["kv cache (CPU)"] == DEMO_KV * cells
    assert found["logits (CPU)"] == 4 * VOCABULARY * sequences
    header = read_gguf(DEMO / "model.gguf")
    assert found["weights (CPU)"] == sum(tensor.bytes for tensor in header.tensors)
    timings.close()  # type: ignore[attr-defined]
    assert set(held(demo)) == {"weights (CPU)"}


def test_blocks_of_a_quantized_cache(tmp_path: Path) -> None:
    backend = open_model(DEMO / "model.gguf", kv_type="q8_0")
    timings = backend.time(workload(300, 2, sequences=2))
    next(timings)
    # eight bits and a half to each number; llama.cpp tells hundredths of a MiB
    assert held(backend)["kv cache (CPU)"] == pytest.approx(DEMO_KV * 1024 * 8.5 / 16, abs=0.005 * 2**20)
    backend.close()


def test_answers_are_the_same_bits_after_a_timing(demo: LlamaCppBackend) -> None:
    groups = [ScoreGroup(some_ids(40, at), (some_ids(5, 50), some_ids(3, 60))) for at in range(4)]
    before = list(demo.score(groups))
    runs(demo, workload(30, 4, sequences=2), 2)
    assert list(demo.score(groups)) == before
    assert held(demo)["kv cache room"] == CONTEXT


def test_a_timing_that_was_left_is_over_with_the_next_call(demo: LlamaCppBackend) -> None:
    first = demo.time(workload(10, 2))
    next(first)
    (answer,) = demo.score([ScoreGroup((5,), ((6,),))])
    with pytest.raises(RuntimeError, match="before the next call"):
        next(first)
    assert held(demo)["kv cache room"] == CONTEXT
    assert list(demo.score([ScoreGroup((5,), ((6,),))])) == [answer]


def test_distributions_that_were_left_are_over_with_a_timing(demo: LlamaCppBackend) -> None:
    """Their logits lay in the cache that was given back."""
    found = demo.top_logprobs(some_ids(20), 3)
    next(found)
    runs(demo, workload(10, 2))
    with pytest.raises(RuntimeError, match="before the next call"):
        next(found)


def test_a_timing_that_is_forgotten_gives_back_its_cache(demo: LlamaCppBackend) -> None:
    timings = demo.time(workload(10, 2))
    next(timings)
    del timings
    assert set(held(demo)) == {"weights (CPU)"}


def test_nothing_is_run_once_it_is_closed() -> None:
    backend = open_model(DEMO / "model.gguf")
    timings = backend.time(workload(10, 2))
    next(timings)
    backend.close()
    with pytest.raises(RuntimeError, match="before the next call"):
        next(timings)


def test_opening_and_timing_leaks_nothing() -> None:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("memory is read from /proc")
    backend = open_model(DEMO / "model.gguf")
    sizes = []
    for _ in range(12):
        runs(backend, workload(3, 2, sequences=40))
        sizes.append(int(statm.read_text().split()[1]) * 4096)
    backend.close()
    # a cache is 21 MB: half of eight, for what else this process does meanwhile
    assert sizes[-1] - sizes[3] < 4 * 21e6


# ---- what is said of it --------------------------------------------------------------------------------


def test_what_was_used_is_said() -> None:
    backend = open_model(DEMO / "model.gguf", batch_tokens=64)
    assert not any(note.startswith("timed") for note in backend.notes())
    for _ in range(2):
        runs(backend, workload(10, 2))
    (note,) = (note for note in backend.notes() if note.startswith("timed"))
    assert note.startswith("timed with threads=1, up to 64 tokens at once, flash attention ")
    backend.close()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "up to 512 tokens at once, flash attention on"),
        ({"flash_attention": "off"}, "flash attention off"),
        ({"flash_attention": "on", "batch_tokens": 4096}, "up to 4096 tokens at once, flash attention on"),
        ({"dtype": "float32"}, "flash attention off"),
        ({"kv_type": "q8_0"}, "flash attention on"),
    ],
    ids=str,
)
def test_timed_is_llama_cpp_as_it_comes(options: dict[str, int | str], wanted: str, tmp_path: Path) -> None:
    backend = open_model(DEMO / "model.gguf", **options)
    runs(backend, workload(10, 2))
    assert any(wanted in note for note in backend.notes())
    backend.close()


def test_nothing_reaches_the_terminal(demo: LlamaCppBackend, capfd: pytest.CaptureFixture[str]) -> None:
    runs(demo, workload(10, 2))
    assert capfd.readouterr() == ("", "")


def test_a_batch_of_no_size_is_the_default() -> None:
    assert [batch(text) for text in ("0", "32", "512")] == [0, 32, 512]
    for wrong in ("31", "-1"):
        with pytest.raises(ValueError, match="is too small"):
            batch(wrong)


# ---- what cannot be timed ----------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_at_once(demo: LlamaCppBackend) -> None:
    for work, why in [
        (workload(CONTEXT, 2), "2049 tokens do not fit the model's context of 2048"),
        (workload(CONTEXT + 1), "2049 tokens do not fit"),
        (Workload(((VOCABULARY,),)), "token id 2048 is not in"),
        (Workload(((5,),), 1, 0, ((-1,),)), "token id -1 is not in"),
        (Workload(((5, 6),), 1, 2), "cannot have 2 of them in the cache"),
        (Workload(((5,),) * 257), "257 sequences are more than llama.cpp's 256"),
    ]:
        with pytest.raises(ValueError, match=why):
            demo.time(work)


def test_no_memory_for_it(demo: LlamaCppBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "available_memory", lambda: 100_000_000)
    # 2,048 bytes a token
    why = r"for a cache of 409600 tokens in f16 \(0\.8 GB, and 0\.1 are left\).* shorter sequences"
    with pytest.raises(JobFailed, match=why):
        next(demo.time(workload(2000, 40, sequences=200)))
    assert set(held(demo)) == {"weights (CPU)"}
    monkeypatch.undo()
    assert len(runs(demo, workload(10, 2))) == 1


def test_logits_that_are_no_numbers(tmp_path: Path) -> None:
    tensors = qwen2_tensors()
    tensors["output_norm.weight"] = np.full(32, np.nan)
    backend = open_model(write_gguf(tmp_path / "model.gguf", "qwen2", QWEN2_FACTS, tensors))
    for work in (workload(5), workload(5, 3), workload(5, 3, forced=True)):
        with pytest.raises(JobFailed, match="logits are not numbers"):
            next(backend.time(work))
    backend.close()
