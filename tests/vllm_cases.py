"""The vllm backend's tests, for an interpreter that has vLLM: ``test_vllm.py`` runs them there, once."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from slmeval.api import Backend
from slmeval.errors import JobFailed, ModelError, Unanswerable
from slmeval.prefixes import in_prefix_order
from slmeval.sampling import Sampler
from slmeval.testing import BackendContract, toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, model_for, options_for
from slmeval.types import GenerationSettings, ModelRef, OptionValue, Prompt, ScoreGroup, TokenIds, Workload
from slmeval_vllm import VllmBackend

#: of tokens: what a CPU's cache has by default
BLOCK = 32
#: tokens of a trunk that these tests let it run at a time
STEP = 2 * BLOCK
#: what float32 comes to, over a whole continuation
EXACT = 1e-4


class TestContract(BackendContract):
    """What every backend owes."""

    backend: ClassVar[type[Backend]] = VllmBackend
    # two threads wait for each other on a busy machine
    options: ClassVar[Mapping[str, OptionValue]] = {"threads": "1"}


class TestOwn(Clauses):
    """What is vLLM's own: blocks, what is read from the cache, ties, options, the way out of errors."""

    backend = TestContract.backend
    options = TestContract.options

    # ---- blocks and what is read from the cache -------------------------------------------------------

    def test_contexts_around_multiples_of_the_block(self) -> None:
        """Each length of a context, with continuations of all lengths behind it, in one call."""
        lengths = [blocks * BLOCK + more for blocks in (1, 2, 3) for more in (-1, 0, 1)]
        whole = toy.text_ids(4 * BLOCK, 1)
        groups = in_prefix_order(
            ScoreGroup(whole[:length], (*_some(length), whole[length : length + BLOCK + 2]))
            for length in lengths
        )
        assert self._furthest(self.toy, groups) <= EXACT

    def test_the_demo_around_multiples_of_the_block(self) -> None:
        """The same with a trained model and its oracle."""
        demo = self.subject("demo")
        text, tail = demo.cases.long[2]
        groups = in_prefix_order(
            ScoreGroup(text[:length], (text[length : length + 5], tail[:7], tail[:1]))
            for length in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 4 * BLOCK)
        )
        assert self._furthest(demo, groups) <= EXACT

    def test_continuations_that_share_whole_blocks(self) -> None:
        """What one continuation left in the cache has no rows in the next one's prompt."""
        common = toy.text_ids(2 * BLOCK + 3, 5)[1:]
        for length in (BLOCK - 1, BLOCK, BLOCK + 1):
            ends = (toy.text_ids(4, seed)[1:] for seed in range(4))
            group = ScoreGroup(toy.text_ids(length, 6), (common, *(common + end for end in ends)))
            assert self._furthest(self.toy, [group]) <= EXACT

    def test_a_context_that_is_anothers_continuation(self) -> None:
        """A long text first, then a beginning of it: all of that is in the cache."""
        whole = toy.text_ids(6 * BLOCK, 7)
        groups = [ScoreGroup(whole[:1], (whole[1:],)), ScoreGroup(whole[:BLOCK], (whole[BLOCK : 5 * BLOCK],))]
        assert self._furthest(self.toy, groups) <= EXACT

    def test_a_context_is_computed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Choices are run behind a context that is in the cache, and so are contexts that begin alike."""
        start, ends = toy.text_ids(6 * BLOCK, 8), [toy.text_ids(5, seed)[1:] for seed in range(8)]
        groups = [ScoreGroup(start + end, tuple(ends)) for end in ends[:3]]
        with _counted(self.toy, monkeypatch) as computed:
            self.toy.score(groups)
        # each question runs less than a block again
        assert sum(computed) < len(start) + len(computed) * BLOCK
        # and what all three begin with, as far as it fills a step, by itself
        assert len(computed) == 1 + 3 * (1 + len(ends))

    def test_nothing_but_a_trunk_is_kept_for_the_next_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without one, what a call computes depends on it alone."""
        found = []
        for _ in range(2):
            with _counted(self.toy, monkeypatch) as computed:
                self.toy.score(self.toy.cases.family)
            found.append(computed)
        assert found[0] == found[1]

    def test_a_trunk_is_kept_with_its_bits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What all contexts begin with is run once; a call's bits are those of a call that finds nothing."""
        self._short_steps(monkeypatch)
        trunk, other = toy.text_ids(2 * STEP + 40, 1), toy.text_ids(STEP, 3)
        calls = [_behind(trunk[: 2 * STEP + more], seed) for more, seed in ((7, 10), (40, 20), (3, 10))]
        # one that shares a step with the others, and one that shares nothing
        calls += [_behind(trunk[:STEP] + other, 30), _behind(other, 40)]
        alone = []
        for groups in calls:
            self.toy.score(self.toy.cases.apart[:1])  # which leaves nothing
            alone.append(self.toy.score(groups))
        with _counted(self.toy, monkeypatch) as computed:
            again = [self.toy.score(groups) for groups in (*calls, *calls[::-1])]
        assert again == [*alone, *alone[::-1]]
        # two for the first three calls together, one for the fourth, one for the last; and backwards
        assert computed.count(STEP) == (2 + 0 + 0 + 1 + 1) + (0 + 2 + 1 + 0 + 0)

    def test_texts_are_drawn_from_the_whole_distribution(self, tmp_path: Path) -> None:
        """What a checkpoint says of how to generate (the likeliest token alone, say) is not used."""
        folder = tmp_path / "toy"
        shutil.copytree(model_for(self.backend, "toy").location, folder)
        said = {"do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.1, "repetition_penalty": 9.0}
        (folder / "generation_config.json").write_text(json.dumps(said))
        prompts = [Prompt(toy.text_ids(20, 4), seed=seed) for seed in range(8)]
        settings = GenerationSettings(6, temperature=1.3)
        with _opened(folder) as backend:
            found = list(backend.generate(prompts, settings, self.toy.tokenizer.decode))
        assert found == self.toy.write(prompts, settings)
        assert len({text.ids for text in found}) > 4

    def test_a_prompt_of_which_several_texts_are_drawn_is_run_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But for less than a block, which each of them runs again."""
        prompts = [Prompt(toy.text_ids(4 * BLOCK + 2, 11), seed=seed) for seed in range(6)]
        with _counted(self.toy, monkeypatch) as computed:
            self.toy.write(prompts, GenerationSettings(1, temperature=1.0))
        assert sum(computed) < 4 * BLOCK + 2 + 6 * BLOCK

    def test_texts_are_drawn_by_the_rule_of_all_engines(self) -> None:
        """The same seed draws what it draws from the toy's closed form."""
        settings = GenerationSettings(10, temperature=0.8, top_p=0.95)
        prompts = [Prompt(toy.text_ids(length, 4), seed=seed) for length in (9, 20) for seed in range(4)]
        for prompt, found in zip(prompts, self.toy.write(prompts, settings), strict=True):
            sampler, ids = Sampler(settings, prompt.seed), prompt.ids
            for _ in range(10):
                ids = (*ids, sampler.draw(toy.logits(ids)[-1]))
            assert found.ids == ids[len(prompt.ids) :]

    def test_where_vllm_draws_itself_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its second runner knows no rule of ours; and it would draw at 0.01 in place of what is colder."""
        engine = _engine(self.toy)
        monkeypatch.setattr(engine, "_opened", replace(engine._opened, our_rule=False))
        prompts = [Prompt(toy.text_ids(20, 4), seed=seed) for seed in (1, 2, 1)]
        settings = GenerationSettings(10, temperature=1.3)
        first, again = (self.toy.write(prompts, settings) for _ in range(2))
        assert first == again
        assert first[0] == first[2] != first[1]
        assert any("vLLM's own random numbers" in note for note in engine.notes())
        with pytest.raises(Unanswerable, match=r"no temperature below 0\.01, and 0\.001 was asked for"):
            self.toy.write(prompts, GenerationSettings(2, temperature=0.001))

    def test_a_trunk_in_blocks_that_are_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where none can be forgotten by itself the trunk is run in each call, and the bits are the same."""
        self._short_steps(monkeypatch)
        groups = _behind(toy.text_ids(2 * STEP + 7, 1), 10)
        expected = self.toy.score(groups)
        monkeypatch.setattr(_engine(self.toy)._desk._trunk, "_pool", None)
        with _counted(self.toy, monkeypatch) as computed:
            found = [self.toy.score(groups) for _ in range(2)]
        assert found == [expected, expected]
        assert computed.count(STEP) == 4

    def test_texts_behind_a_trunk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Prompts that begin alike are written to as those that stand alone."""
        self._short_steps(monkeypatch)
        prompts = [Prompt(group.context) for group in _behind(toy.text_ids(STEP + 9, 1), 10)]
        with _counted(self.toy, monkeypatch) as computed:
            found = [self.toy.write(prompts, GenerationSettings(6)) for _ in range(2)]
        alone = [self.toy.write([prompt], GenerationSettings(6)) for prompt in prompts]
        assert found[0] == found[1] == [text for (text,) in alone]
        assert computed.count(STEP) == 1

    def _short_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # the toy's context is short
        monkeypatch.setattr(_engine(self.toy)._desk._trunk, "_step", STEP)

    def test_one_token_choices_are_one_question(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Choices behind letters cost one pass over the question."""
        group = ScoreGroup(toy.text_ids(50, 9), tuple((token,) for token in toy.PLAIN[:4]))
        with _counted(self.toy, monkeypatch) as computed:
            self.toy.score([group])
        assert computed == [50]

    @pytest.mark.parametrize("size", ["64", "128"])
    def test_any_size_of_block(self, size: str) -> None:
        """Other blocks share other parts, and give the same."""
        groups = self.toy.cases.family
        with _opened("toy", block_size=size) as backend:
            found = list(backend.score(groups))
        self.all_exact(found, self.toy.score(groups), f"blocks of {size}")

    # ---- ways to ask ----------------------------------------------------------------------------------

    def test_each_way_is_right(self) -> None:
        """Those that are not the first choice here would be right too."""
        from slmeval_vllm.routes import routes

        engine = _engine(self.toy)
        taken, groups = engine._route, [*self.toy.cases.family, *self.toy.cases.apart[:2]]
        assert engine._faults == {}
        for name, route in routes(BLOCK).items():
            engine._route = route
            try:
                assert self._furthest(self.toy, groups) <= EXACT, name
            finally:
                engine._route = taken

    def test_a_way_that_is_wrong_is_not_taken(self) -> None:
        """Wrong numbers, no numbers and refusals are seen at opening; with nothing else it fails."""
        from slmeval_vllm import routes, trial
        from slmeval_vllm.asks import Ask, Mark

        def late(group: ScoreGroup) -> Any:
            graded = yield from routes.whole(ScoreGroup(group.context[1:], group.continuations))
            return graded

        def blind(group: ScoreGroup) -> Any:
            graded = yield from routes.whole(group)
            return {ids: [Mark(math.nan, mark.best, None) for mark in marks] for ids, marks in graded.items()}

        def refused(group: ScoreGroup) -> Any:
            yield [Ask(group.context, (toy.VOCABULARY,))]

        engine, case = _engine(self.toy), trial.case_for(BLOCK, toy.CONTEXT, toy.VOCABULARY)
        wrong = {"late": late, "blind": blind, "refused": refused}
        name, faults = trial.choose(engine._desk, {**wrong, "whole": routes.whole}, case, "float32")
        assert name == "whole"
        assert list(faults) == ["late", "blind", "refused"]
        assert "is right" in faults["late"]
        assert faults["blind"].startswith("it gives nan")
        assert "out-of-vocab" in faults["refused"]
        with pytest.raises(JobFailed, match=r"no log-probabilities that can be relied on \(late: .*right"):
            trial.choose(engine._desk, wrong, case, "float32")
        self.exact(*self._one(self.toy), "after a failed trial")

    def test_the_likeliest_tokens_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where all would be too many numbers for one request, each token is asked for by itself."""
        ids = toy.text_ids(BLOCK + 3, 3)
        once = list(self.toy.backend.top_logprobs(ids, 5))
        monkeypatch.setattr("slmeval_vllm.top.MOST_NUMBERS", 20)
        singly = list(self.toy.backend.top_logprobs(ids, 5))
        assert [each.ids for each in once] == [each.ids for each in singly]
        assert np.allclose([each.logprobs for each in once], [each.logprobs for each in singly], atol=EXACT)

    def test_few_at_a_time(self) -> None:
        """With little room, one group and one prompt at a time, everything comes out the same."""
        prompts = [Prompt(ids) for ids in self.toy.sure_prompts(8)[:4]]
        settings = GenerationSettings(8)
        with _opened("toy", batch_tokens="1") as backend:
            found = list(backend.score(self.toy.cases.family))
            texts = list(backend.generate(prompts, settings, self.toy.tokenizer.decode))
        self.all_exact(found, self.toy.score(self.toy.cases.family), "one at a time")
        assert texts == self.toy.write(prompts, settings)

    def test_a_lost_request_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer that never comes is a failed job, in scoring and in writing."""
        engine = _engine(self.toy)._opened.engine
        groups, prompts = self.toy.cases.apart[:1], [Prompt(self.toy.sure_prompts(2)[0])]
        with monkeypatch.context() as patched:
            patched.setattr(engine, "add_request", lambda *_: None)
            with pytest.raises(JobFailed, match="without an answer"):
                list(self.toy.backend.score(groups))
            with pytest.raises(JobFailed, match="without an answer"):
                list(self.toy.backend.generate(prompts, GenerationSettings(2), lambda _: ""))
        self.exact(*self._one(self.toy), "after a lost request")

    # ---- likelier than others -------------------------------------------------------------------------

    def test_of_equally_likely_tokens_one_is_greedy(self, tmp_path: Path) -> None:
        """The one that greedy decoding takes, at the first, an inner and the last place of a continuation."""
        folder = _with_twins(tmp_path / "twins")
        # rounded to half precision, what is equally likely is so to the last bit
        with _opened(folder, dtype="bfloat16") as backend:
            prompt = toy.text_ids(20, 4)
            (text,) = backend.generate([Prompt(prompt)], GenerationSettings(3), lambda _: "")
            others = [_twin(token) for token in text.ids]
            assert text.ids != tuple(others)
            changed = [
                tuple(others[at] if at == place else token for at, token in enumerate(text.ids))
                for place in range(3)
            ]
            (answers,) = backend.score([ScoreGroup(prompt, (text.ids, *changed))])
        assert [answer.greedy for answer in answers] == [True, False, False, False]
        first, *others = (answer.token_logprobs for answer in answers)
        assert [each[place] for place, each in enumerate(others)] == list(first)

    def test_a_continuation_of_no_tokens_is_certain(self) -> None:
        """Alone and beside others: nothing is asked for it."""
        context = toy.text_ids(9, 1)
        for more in ((), (toy.text_ids(4, 2)[1:],)):
            (found,) = self.toy.score([ScoreGroup(context, ((), *more))])
            assert found[0].token_logprobs == ()
            assert len(found) == 1 + len(more)

    def test_one_of_all_tokens_is_greedy(self) -> None:
        """After a context and after one token more."""
        context = self.toy.sure_prompts(2)[0]
        (best,) = self.toy.truth.greedy(context, 1)
        every = tuple((token,) for token in range(toy.VOCABULARY))
        for asked in (ScoreGroup(context, every), ScoreGroup(context, tuple((best, *one) for one in every))):
            (answers,) = self.toy.score([asked])
            assert sum(answer.greedy for answer in answers) == 1

    def test_a_model_without_numbers_writes_nothing(self, tmp_path: Path) -> None:
        """Of logits that are not numbers some token would be taken: that is refused."""
        folder = _changed(
            tmp_path / "blind", lambda tensors: tensors["lm_head.weight"].__setitem__(5, np.nan)
        )
        with pytest.raises(JobFailed, match="not numbers"), _opened(folder) as backend:
            list(backend.generate([Prompt((1, 5))], GenerationSettings(2), lambda _: ""))

    # ---- options, opening and closing -----------------------------------------------------------------

    @pytest.mark.parametrize(("dtype", "within"), [("bfloat16", 0.5), ("float16", 0.1)])
    def test_half_precision_is_near(self, dtype: str, within: float) -> None:
        """Half precision is used where it is asked for, and is not far off."""
        with _opened("demo", dtype=dtype) as backend:
            assert backend.model_info().dtype == dtype
            group = self.subject("demo").cases.apart[0]
            (found,) = backend.score([group])
        for continuation, answer in zip(group.continuations, found, strict=True):
            right = self.subject("demo").truth.likelihood(group.context, continuation)
            assert 0 < abs(answer.logprob - right.logprob) < within

    def test_dtype_is_the_checkpoints_own(self) -> None:
        """vLLM by itself would narrow float32 to half precision."""
        with _opened("toy", dtype="auto") as backend:
            assert backend.model_info().dtype == "float32"

    def test_dtype_is_that_of_the_weights_where_the_config_is_silent(self, tmp_path: Path) -> None:
        """vLLM alone would take such a checkpoint for one of half precision."""
        from slmeval_vllm.shape import dtype_of

        folder = _copied(tmp_path / "silent")
        config = json.loads((folder / "config.json").read_text())
        silent = {name: value for name, value in config.items() if name not in ("dtype", "torch_dtype")}
        (folder / "config.json").write_text(json.dumps(silent))
        assert dtype_of(folder, "auto") == "float32"
        assert dtype_of(folder, "bfloat16") == "bfloat16"

    def test_the_fingerprint_names_what_is_used(self) -> None:
        """0 is resolved, and what changes no number is left out."""
        found = VllmBackend.fingerprint(options_for(VllmBackend, {}))
        assert found["block_size"] == BLOCK
        assert found["threads"] == len(os.sched_getaffinity(0))
        assert found["device"] == "cpu"
        assert "memory_share" not in found

    def test_what_opening_changes_is_put_back(self) -> None:
        """The environment of the processes that ours starts, and torch's number of threads."""
        import torch

        before = dict(os.environ), torch.set_num_threads, sys.excepthook
        with _opened("toy"):
            assert (dict(os.environ), torch.set_num_threads, sys.excepthook) == before

    def test_as_many_threads_as_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """vLLM by itself takes one."""
        import torch

        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with _opened("toy", threads="2"):
            assert torch.get_num_threads() == 2
        torch.set_num_threads(1)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"architectures": ["NoSuchForCausalLM"], "model_type": "llama"}, "NoSuchForCausalLM"),
            ({"num_hidden_layers": 2}, "model.layers.1"),
            ({"hidden_size": 128}, "cannot be opened by vLLM: "),
            ({"model_type": "no_such_type"}, "no_such_type"),
        ],
    )
    def test_what_cannot_be_opened_is_named(self, tmp_path: Path, change: dict[str, Any], told: str) -> None:
        """One sentence with vLLM's reason; models that are open go on."""
        folder = _copied(tmp_path / "broken")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError) as caught, _opened(folder):
            pass
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
        self.exact(*self._one(self.toy), "after another could not be opened")

    def test_a_cache_that_does_not_fit_is_refused(self) -> None:
        """Too little memory is a failed job that says so."""
        with pytest.raises(JobFailed, match="does not fit the memory"), _opened("toy", memory_share="1e-9"):
            pass
        self.exact(*self._one(self.toy), "after another could not be opened")

    def test_a_cache_that_is_full_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is room for one sequence alone, others are put off, and run again."""
        token = 2 * toy.KV_HEADS * toy.HEAD_DIM * 4
        monkeypatch.setattr("slmeval_vllm.loading._cache_bytes", lambda *_: token * (toy.CONTEXT + 2 * BLOCK))
        groups, prompts = [*self.toy.cases.family, *self.toy.cases.apart], self.toy.sure_prompts(20)
        settings = GenerationSettings(20)
        with _opened("toy") as backend:
            found = list(backend.score(groups))
            texts = backend.generate(list(map(Prompt, prompts)), settings, self.toy.tokenizer.decode)
            written = [text.ids for text in texts]
        self.all_exact(found, self.toy.score(groups), "a full cache")
        assert written == [self.toy.truth.greedy(prompt, 20) for prompt in prompts]

    def test_a_share_of_memory_is_kept_to(self) -> None:
        """The cache has the share that was asked for."""
        with _opened("toy", memory_share="0.01") as backend:
            cache, _ = backend.memory()
        assert 1e6 < cache.value < 0.011 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def test_tied_weights_count_once(self, tmp_path: Path) -> None:
        """Where both matrices are stored, in safetensors or in pickles."""
        import torch
        from safetensors.torch import save_file

        from slmeval_vllm.shape import parameters_of

        tensors = {"lm_head.weight": torch.ones(5, 3), "model.embed_tokens.weight": torch.ones(5, 3)}
        for name, save in (("model.safetensors", save_file), ("pytorch_model.bin", torch.save)):
            folder = tmp_path / name
            folder.mkdir()
            save(tensors, str(folder / name))
            for tied, unique in ((True, 15), (False, 30)):
                (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
                assert parameters_of(folder) == (unique, 30)

    def test_an_attention_that_there_is_not_is_refused(self) -> None:
        """An unknown backend of attention is named."""
        with pytest.raises(ModelError, match="NO_SUCH"), _opened("toy", attention="NO_SUCH"):
            pass

    # ---- calls ----------------------------------------------------------------------------------------

    def test_one_call_at_a_time(self) -> None:
        """Answers that another call has overtaken are lost, and not mixed up with its own."""
        groups = self.toy.cases.apart
        with _opened("toy", batch_tokens="1") as backend:
            early = backend.score(groups)
            next(early)
            after = list(backend.score(groups))
            with pytest.raises(RuntimeError, match="before the next call"):
                next(early)
            assert list(backend.score(groups)) == after

    def test_a_text_may_be_left_unread(self) -> None:
        """Texts that nobody waits for any more are given up."""
        # the first fills its context before the others
        prompts = [Prompt(toy.text_ids(length, 4)) for length in (200, 20, 10)]
        some = self.toy.backend.generate(prompts, GenerationSettings(1000), self.toy.tokenizer.decode)
        assert len(next(some).ids) == toy.CONTEXT - 200
        some.close()
        assert not _engine(self.toy)._opened.engine.has_unfinished_requests()
        self.exact(*self._one(self.toy), "after texts that were left")

    # ---- helpers --------------------------------------------------------------------------------------

    # ---- what it costs --------------------------------------------------------------------------------

    def test_a_workload_is_timed(self) -> None:
        """Its times do not fall, lie within those of whoever waits, and a prefill ends with its token."""
        backend = self.toy.backend
        runs = backend.time(_workload(3, 40, 6))
        for _ in range(3):
            began = time.perf_counter()
            timing = next(runs)
            assert 0 < timing.tokens[0] <= sorted(timing.tokens)[0]
            assert list(timing.tokens) == sorted(timing.tokens)
            assert len(timing.tokens) == 6
            assert timing.tokens[-1] < time.perf_counter() - began
            assert timing.prefill == timing.tokens[0]
        alone = next(backend.time(_workload(1, 40, 0)))
        assert alone.tokens == ()
        assert alone.prefill is not None
        assert any("its time has that choice in it" in note for note in backend.notes())

    def test_no_run_profits_from_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same prompts are computed whole each time; and what is asked afterwards is right."""
        runs = self.toy.backend.time(_workload(2, 3 * BLOCK + 1, 2))
        with _cached(self.toy, monkeypatch) as found:
            for _ in range(3):
                next(runs)
        assert found == [[0, 0]] * 6
        runs.close()  # type: ignore[attr-defined]
        self.exact(*self._one(self.toy), "after something was timed")

    @pytest.mark.parametrize(("depth", "cached"), [(BLOCK - 1, 0), (2 * BLOCK, 2 * BLOCK), (70, 2 * BLOCK)])
    def test_whole_blocks_of_a_depth_are_in_the_cache(
        self, monkeypatch: pytest.MonkeyPatch, depth: int, cached: int
    ) -> None:
        """And the report says how much was."""
        runs = self.toy.backend.time(_workload(2, depth + 9, 3, depth))
        for _ in range(2):
            with _cached(self.toy, monkeypatch) as found:
                next(runs)
            assert found[-3:] == [[cached, cached]] * 3
        told = f"of a depth of {depth} tokens {cached} were in the cache"
        assert any(told in note for note in self.toy.backend.notes()) == (depth != cached)

    def test_sequences_that_are_begun_in_several_steps_are_decoded_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that write first go on until the last one has its tokens."""
        with _cached(self.toy, monkeypatch) as found:
            timing = next(self.toy.backend.time(_workload(60, 150, 4)))
        assert len(timing.tokens) == 4
        # 4,096 tokens of a step hold 27 prompts
        assert [len(step) for step in found] == [27, 54, 60, 60, 60, 60]

    def test_what_cannot_be_under_way_at_once_is_refused(self) -> None:
        """Before anything is run, with the numbers."""
        with pytest.raises(JobFailed, match="257 sequences are more than the 256"):
            self.toy.backend.time(_workload(257, 4, 1))
        with pytest.raises(
            JobFailed, match=r"need 1250 blocks .*, which has \d+: -o batch_tokens= makes room"
        ):
            self.toy.backend.time(_workload(250, 150, 8))
        with pytest.raises(ValueError, match="do not fit the model's context"):
            self.toy.backend.time(_workload(1, toy.CONTEXT, 2))
        with pytest.raises(NotImplementedError, match="does not declare force"):
            self.toy.backend.time(replace(_workload(1, 4, 1), forced=((3,),)))

    def test_an_engine_that_stops_while_it_is_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is a failed job, and the next run begins anew."""

        def stop() -> None:
            raise RuntimeError("CUDA error: an illegal access. More of it")

        runs = self.toy.backend.time(_workload(2, 20, 3))
        with monkeypatch.context() as patched:
            patched.setattr(_engine(self.toy)._opened.engine, "step", stop)
            with pytest.raises(JobFailed, match="vLLM stopped: CUDA error: an"):
                next(runs)
        assert len(next(self.toy.backend.time(_workload(2, 20, 3))).tokens) == 3

    def test_the_cache_is_as_large_as_its_room(self) -> None:
        """Its bytes are those of keys and values of so many tokens."""
        cache, room = self.toy.backend.memory()
        assert (cache.unit, cache.scope, room.unit, room.scope) == (
            "bytes",
            "kv cache",
            "tokens",
            "kv cache room",
        )
        assert cache.value == room.value * 2 * toy.KV_HEADS * toy.HEAD_DIM * 4

    def _furthest(self, subject: Subject, groups: Sequence[ScoreGroup]) -> float:
        """The largest difference of a summed log-probability from the truth."""
        return max(
            abs(found.logprob - subject.truth.likelihood(group.context, tokens).logprob)
            for group, answers in zip(groups, subject.score(groups), strict=True)
            for tokens, found in zip(group.continuations, answers, strict=True)
        )

    def _one(self, subject: Subject) -> tuple[Any, Any]:
        context, continuation = subject.cases.long[0]
        return subject.one(context, continuation), subject.truth.likelihood(context, continuation)


def _some(seed: int) -> tuple[TokenIds, ...]:
    """Continuations of one token and more, some of which begin alike."""
    start = toy.text_ids(12, 100 + seed)[1:]
    return (start[:1], start[:2], start, (*start[:3], *start[:3]), start[4:])


def _engine(subject: Subject) -> Any:
    return subject.backend._engine  # type: ignore[attr-defined]


def _workload(batch: int, prompt: int, new: int, depth: int = 0) -> Workload:
    return Workload(tuple(toy.text_ids(prompt, seed) for seed in range(batch)), new, depth)


@contextmanager
def _cached(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """How many tokens of their prompts the requests of each step read from the cache."""
    found: list[list[int]] = []
    desk = _engine(subject)._desk
    step = desk.step

    def watched() -> list[Any]:
        outputs: list[Any] = step()
        found.append([output.num_cached_tokens for output in outputs])
        return outputs

    with monkeypatch.context() as patched:
        patched.setattr(desk, "step", watched)
        yield found


@contextmanager
def _opened(model: str | Path, **options: str) -> Iterator[VllmBackend]:
    """The model "toy" or "demo", or a folder."""
    ref = model_for(VllmBackend, model) if isinstance(model, str) else ModelRef(str(model))
    backend = VllmBackend(ref, options_for(VllmBackend, {"threads": "1", **options}))
    try:
        yield backend
    finally:
        backend.close()


def _behind(trunk: TokenIds, seed: int) -> list[ScoreGroup]:
    """Questions that begin with ``trunk``."""
    ends = [toy.text_ids(9, seed + number)[1:] for number in range(5)]
    return list(in_prefix_order(ScoreGroup(trunk + end, (end[:3], end[2:4])) for end in ends))


@contextmanager
def _counted(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many tokens of its prompt each request had to compute."""
    computed: list[int] = []
    desk = _engine(subject)._desk
    step = desk.step

    def watched() -> list[Any]:
        outputs: list[Any] = step()
        done = (output for output in outputs if output.finished)
        computed.extend(len(output.prompt_token_ids) - output.num_cached_tokens for output in done)
        return outputs

    with monkeypatch.context() as patched:
        patched.setattr(desk, "step", watched)
        yield computed


def _copied(folder: Path) -> Path:
    shutil.copytree(model_for(VllmBackend, "toy").location, folder)
    return folder


def _changed(folder: Path, change: Any) -> Path:
    """The toy model with other weights."""
    from safetensors.numpy import load_file, save_file

    _copied(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _twin(token: int) -> int:
    return token ^ 1


def _with_twins(folder: Path) -> Path:
    """The toy model, in which tokens 2n and 2n + 1 are one and the same."""

    def pair(tensors: dict[str, Any]) -> None:
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            table = tensors[name]
            table[1::2] = table[: len(table) // 2 * 2 : 2]

    return _changed(folder, pair)
