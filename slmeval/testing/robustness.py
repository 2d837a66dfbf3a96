"""The clauses about errors, about answers that are not wanted any more, and about opening and closing."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from slmeval.errors import ModelError
from slmeval.testing import toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, expect, model_for, needs, options_for
from slmeval.testing.toy_files import parameters
from slmeval.types import GenerationSettings, Likelihood, ModelRef, Prompt, ScoreGroup

#: how often a model is opened and closed, after as many times as an engine needs to settle
ROUNDS, SETTLING, TRIES = 6, 3, 3
_STATUS = Path("/proc/self/status")


class _DisturbedError(Exception):
    """What goes wrong in the middle."""


class RobustnessClauses(Clauses):
    """Nothing is lost, and nothing is left behind."""

    def test_an_error_while_scoring_loses_nothing(self) -> None:
        """What was answered before a group that cannot be is right, and so is what is asked afterwards."""
        needs(self.backend, "score")
        groups = self.toy.cases.apart
        wrong = ScoreGroup((*groups[2].context, toy.VOCABULARY), ((toy.PLAIN[0],),))
        answered = []
        try:
            for replies in self.toy.backend.score([*groups[:2], wrong, groups[3]]):
                answered.append(replies)
        except ValueError:
            expect(len(answered) <= 2, "a group that cannot be answered was answered")
        else:
            raise AssertionError("a token outside of the vocabulary among others should be a ValueError")
        self._right(groups, answered)
        self._right(groups, self.toy.score(groups))

    def test_an_error_while_writing_loses_nothing(self) -> None:
        """What ``decode`` raises comes out as it is, and what is asked afterwards is right."""
        needs(self.backend, "generate")
        prompts = self.toy.sure_prompts(8)[:4]
        settings = GenerationSettings(8, stop=("\0",))
        calls = iter(range(1000))

        def decode(ids: Sequence[int]) -> str:
            if next(calls) == 5:
                raise _DisturbedError
            return self.toy.tokenizer.decode(ids)

        try:
            list(self.toy.backend.generate([Prompt(ids) for ids in prompts], settings, decode))
        except _DisturbedError:
            self._write_right(self.toy)
        else:
            raise AssertionError("an error that decode raised in the middle was swallowed")

    def test_answers_may_be_left_unread(self) -> None:
        """Where the first answer is taken and the rest is not, what is asked next is right."""
        needs(self.backend, "score")
        groups = self.toy.cases.apart
        some = self.toy.backend.score(groups)
        self._right(groups, list(islice(some, 1)))
        # as a cancelled run lets go of it
        del some
        gc.collect()
        self._right(groups[1:], self.toy.score(groups[1:]))

    def _right(self, groups: Sequence[ScoreGroup], answers: Sequence[Sequence[Likelihood]]) -> None:
        for group, replies in zip(groups, answers, strict=False):
            for continuation, found in zip(group.continuations, replies, strict=True):
                right = self.toy.truth.likelihood(group.context, continuation)
                self.near(found, right, "around an error")

    def _write_right(self, subject: Subject) -> None:
        for prompt in subject.sure_prompts(8)[:2]:
            found, right = subject.text(prompt, GenerationSettings(8)).ids, subject.truth.greedy(prompt, 8)
            expect(
                found == right, f"after an error {prompt} is followed by {found}, and should be by {right}"
            )

    # ---- opening and closing -------------------------------------------------------------------------

    def test_a_place_without_a_model_is_refused(self) -> None:
        """What is not there is a ModelError of one sentence that names it."""
        missing = str(Path(model_for(self.backend, "toy").location).with_name("no-such-model"))
        place = missing if "folder" in self.backend.forms else f"{missing}.gguf"
        try:
            self.backend(ModelRef(place), options_for(self.backend, self.options))
        except ModelError as error:
            told = str(error)
            expect(
                "no-such-model" in told and "\n" not in told, f"not one sentence about the place: {told!r}"
            )
        else:
            raise AssertionError(f"{place} is not there, and was opened")

    def test_opened_and_closed_many_times_it_leaves_nothing_behind(self) -> None:
        """A model opened again answers as before, and no memory, thread or file is left of the others."""
        group = self.toy.cases.apart[:1]
        before = self.toy.score(group)
        for _ in range(SETTLING):
            self._open_and_close(group)
        # a process does other things too; what leaks does so each time
        grown = [self._growth(group, before)]
        while grown[-1] and len(grown) < TRIES:
            grown.append(self._growth(group, before))
        expect(not grown[-1], f"{grown[-1]} after {ROUNDS} times opened and closed")
        _skip_where_memory_is_unknown()

    def _growth(self, group: Sequence[ScoreGroup], before: Sequence[tuple[Likelihood, ...]]) -> str:
        """What is held that was not before, in words; none where nothing is."""
        start = _holdings()
        for _ in range(ROUNDS):
            self.all_exact(self._open_and_close(group), before, "opened again")
        return _more(start, _holdings())

    def _open_and_close(self, groups: Sequence[ScoreGroup]) -> list[tuple[Likelihood, ...]]:
        backend = self.backend(model_for(self.backend, "toy"), options_for(self.backend, self.options))
        try:
            return list(backend.score(groups))
        finally:
            backend.close()


class _Holdings(NamedTuple):
    """What this process holds; memory in bytes, where the system tells."""

    threads: int
    files: int
    memory: int | None


def _holdings() -> _Holdings:
    gc.collect()
    # else pages that were freed long ago hide what is newly kept
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATUS.is_file() else None:
        trim(0)
    if not _STATUS.is_file():
        return _Holdings(threading.active_count(), 0, None)
    told = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return _Holdings(int(told["Threads"]), files, 1024 * int(told["VmRSS"].split()[0]))


def _more(start: _Holdings, end: _Holdings) -> str:
    for kind in ("threads", "files"):
        if (more := getattr(end, kind) - getattr(start, kind)) >= ROUNDS:
            return f"{more} {kind} more"
    if start.memory is None or end.memory is None:
        return ""
    # each model left behind, be it in half precision, is at least half of its weights in float32
    bound, more = ROUNDS * parameters() * 4 // 2, end.memory - start.memory
    return f"{more / 1e6:.1f} MB more memory" if more >= bound else ""


def _skip_where_memory_is_unknown() -> None:
    if not _STATUS.is_file():
        import pytest

        pytest.skip("threads were counted; how much memory is held is told by Linux alone")
