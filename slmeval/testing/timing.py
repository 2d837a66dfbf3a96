"""The clauses about ``time``: what is timed happened, and left no trace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from slmeval.testing import toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import expect, needs
from slmeval.types import Timing, Workload

#: prompts, tokens in the cache before, and new tokens
_SHAPES = ((1, 0, 5), (3, 4, 5), (1, 4, 1), (2, 0, 0))
_PROMPT = 9


def _workload(batch: int, depth: int, new_tokens: int, *, forced: bool = False) -> Workload:
    prompts = tuple(toy.text_ids(_PROMPT, seed) for seed in range(batch))
    given = tuple(toy.text_ids(new_tokens + 1, seed)[1:] for seed in range(batch)) if forced else ()
    return Workload(prompts, new_tokens, depth, given)


class TimeClauses(Clauses):
    """How long does a workload take?"""

    def test_a_workload_is_timed(self) -> None:
        """ "time": as often as is asked, the prefill (or ``None``) and each new token of all sequences."""
        needs(self.backend, "time")
        for shape in _SHAPES:
            self._is_timed(_workload(*shape))

    def test_given_tokens_are_timed(self) -> None:
        """ "force": the same of tokens that are given in place of those that the model would choose."""
        needs(self.backend, "force")
        for shape in _SHAPES[:2]:
            self._is_timed(_workload(*shape, forced=True))

    def _is_timed(self, workload: Workload) -> None:
        told = f"{len(workload.prompts)} prompts, {workload.depth} before, {workload.new_tokens} new"
        with self._open(workload) as runs:
            for timing in (next(runs), next(runs)):
                count, known = len(timing.tokens), timing.prefill is not None
                expect(count == workload.new_tokens, f"{told}: {count} tokens have a time")
                expect(known or workload.new_tokens > 0, f"{told}: nothing has a time")
                times = [*([timing.prefill] if timing.prefill is not None else []), *timing.tokens]
                odd = [time for time in times if type(time) is not float]
                expect(not odd, f"{told}: {odd[:1]} is no plain float, as a run wants it")
                expect(_rises(times), f"{told}: the times are {times}")

    def test_no_time_is_longer_than_the_run(self) -> None:
        """What is told to have passed did, while the run was waited for, by the clock of ``perf_counter``."""
        needs(self.backend, "time")
        with self._open(_workload(1, 0, 4)) as runs:
            for _ in range(2):
                begun = perf_counter()
                timing = next(runs)
                passed = perf_counter() - begun
                expect(timing.tokens[-1] <= passed, f"{timing.tokens[-1]} s are told, and {passed} s passed")

    def test_timing_changes_no_answer(self) -> None:
        """Before, while a workload waits for its next run, and after, likelihoods are the same."""
        needs(self.backend, "time")
        for subject in self.subjects:
            groups = subject.cases.apart
            before = subject.score(groups)
            with self._open(_workload(2, 4, 3)) as runs:
                next(runs)
                self.all_exact(subject.score(groups), before, f"{subject.model}, a workload waiting")
            self.all_exact(subject.score(groups), before, f"{subject.model}, after a workload")

    def test_a_workload_that_does_not_fit_is_refused(self) -> None:
        """A sequence that grows longer than the context, and an id that there is not, are a ValueError."""
        needs(self.backend, "time")
        whole = toy.text_ids(toy.CONTEXT, 1)
        for workload, what in (
            (Workload((whole,), 2), f"{toy.CONTEXT} tokens and an input more"),
            (Workload(((*whole[:4], toy.VOCABULARY),), 1), f"token id {toy.VOCABULARY}"),
        ):
            expect(self._is_refused(workload), f"{what}: it was timed")
        self._is_timed(Workload((whole,), 1))

    def _is_refused(self, workload: Workload) -> bool:
        try:
            with self._open(workload) as runs:
                next(runs)
        except ValueError:
            return True
        return False

    def test_the_cache_has_room_for_a_workload(self) -> None:
        """While a workload is open, "memory" tells of room for all its tokens, or of no keys and values."""
        needs(self.backend, "time")
        needs(self.backend, "memory")
        workload = _workload(3, 4, 5)
        with self._open(workload) as runs:
            next(runs)
            held, room = (self._read(part) for part in ("kv cache", "kv cache room"))
        tokens = len(workload.prompts) * workload.longest
        expect((held > 0) == (room > 0), f"{held:g} bytes of keys and values have room for {room:g} tokens")
        expect(not room or room >= tokens, f"{tokens} tokens were run, and there is room for {room:g}")

    def _read(self, part: str) -> float:
        readings = self.toy.backend.memory()
        return math.fsum(each.value for each in readings if each.scope.partition(" (")[0] == part)

    @contextmanager
    def _open(self, workload: Workload) -> Iterator[Iterator[Timing]]:
        runs = self.toy.backend.time(workload)
        try:
            yield runs
        finally:
            close = getattr(runs, "close", None)
            if close is not None:
                close()


def _rises(times: Sequence[float]) -> bool:
    return all(map(math.isfinite, times)) and list(times) == sorted(times) and times[0] > 0
