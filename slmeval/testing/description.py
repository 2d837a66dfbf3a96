"""The clauses about what a backend says of itself, and about what it declares."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable

from slmeval.testing import toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, expect, needs, options_for
from slmeval.testing.toy_files import parameters
from slmeval.types import GenerationSettings, Prompt, ScoreGroup, TokenIds, TopLogprobs, Workload

#: what a backend may declare; "profile" is a name for later
CAPABILITIES = ("score", "generate", "sample", "top_logprobs", "memory", "time", "force")
_LATER = ("profile",)


class DescriptionClauses(Clauses):
    """Every declared capability does what it says."""

    def test_the_class_says_what_it_is(self) -> None:
        """Name, forms, capabilities and options can be used as they are declared; the engine is here."""
        backend = self.backend
        expect(bool(backend.name) and backend.name.split() == [backend.name], f"name is {backend.name!r}")
        expect(backend.missing() is None, f"missing() says {backend.missing()!r}, and it is being used")
        unknown = backend.capabilities - {*CAPABILITIES, *_LATER}
        expect(not unknown, f"capabilities that there are not: {', '.join(sorted(unknown))}")
        names = [option.name for option in backend.options]
        expect(len(names) == len(set(names)), f"two options have one name: {', '.join(names)}")
        for option in backend.options:
            taken = not option.choices or str(option.default) in option.choices
            expect(taken, f"option {option.name!r} does not take its default, {option.default!r}")

    def test_the_fingerprint_holds_all_that_can_change_a_number(self) -> None:
        """Engine, version and every numeric option are in it, it is the same each time, and it is JSON."""
        options = options_for(self.backend, self.options)
        found, again = (self.backend.fingerprint(options) for _ in range(2))
        wanted = {"engine", "version", *(option.name for option in self.backend.options if option.numeric)}
        expect(wanted <= set(found), f"the fingerprint lacks {', '.join(sorted(wanted - set(found)))}")
        expect(json.loads(json.dumps(found)) == again, f"the fingerprint changes: {found}, then {again}")

    def test_the_model_is_described(self) -> None:
        """Context, vocabulary and parameters are the model's; engine, version, dtype and device are named."""
        info = self.toy.backend.model_info()
        found = (info.context, info.vocabulary, info.parameters, info.parameters_stored)
        right = (toy.CONTEXT, toy.VOCABULARY, parameters(), parameters())
        expect(found == right, f"context, vocabulary, parameters, stored are {found}, and should be {right}")
        named = (info.architecture, info.engine, info.engine_version, info.dtype, info.device)
        expect(all(named), f"architecture, engine, version, dtype and device are {named}")
        notes = self.toy.backend.notes()
        expect(all(isinstance(note, str) for note in notes), f"notes are {notes}")

    def test_the_models_own_tokenizer_is_accepted(self) -> None:
        """A tokenizer that the engine has makes the same ids of a text as the model's, or there is none."""
        for subject in self.subjects:
            expect(subject.difference is None, f"{subject.model}: {subject.difference}")

    def test_the_likeliest_tokens(self) -> None:
        """ "top_logprobs": after each token so many, the likeliest first, as likely as ``score`` says."""
        needs(self.backend, "top_logprobs")
        for subject in self.subjects:
            context, continuation = subject.cases.long[0]
            self._tops_are_right(subject, context, continuation[:9])

    def _tops_are_right(self, subject: Subject, context: TokenIds, continuation: TokenIds) -> None:
        ids = context + continuation
        found = list(subject.backend.top_logprobs(ids[:-1], subject.vocabulary))
        expect(len(found) == len(ids) - 1, f"{len(ids) - 1} tokens were given {len(found)} answers")
        for each in found:
            _is_distribution(each, subject.vocabulary, self.tolerance)
        right = subject.one(context, continuation).token_logprobs
        for each, token, logprob in zip(found[len(context) - 1 :], continuation, right, strict=True):
            other = each.logprobs[each.ids.index(token)]
            expect(
                abs(other - logprob) <= self.tolerance, f"token {token} has {other}, and {logprob} by score"
            )
        few = list(subject.backend.top_logprobs(ids[:-1], 3))
        expect([len(each.ids) for each in few] == [3] * len(found), "three were asked for after each token")
        same = all(
            abs(one.logprobs[2] - all_.logprobs[2]) <= self.tolerance
            for one, all_ in zip(few, found, strict=True)
        )
        expect(same, "the three likeliest tokens are not those of the whole vocabulary")

    def test_memory_is_read(self) -> None:
        """ "memory": a reading at least, in bytes (a room in tokens), with what it covers and who says so."""
        needs(self.backend, "memory")
        readings = self.toy.backend.memory()
        expect(bool(readings), "memory is declared, and there is no reading")
        for each in readings:
            units = {"tokens"} if each.scope.startswith("kv cache room") else {"B", "bytes"}
            right = each.unit in units and 0 < each.value < math.inf and each.scope and each.source
            expect(bool(right), f"not a reading of memory: {each}")

    def test_what_is_not_declared_is_refused(self) -> None:
        """A capability that is not declared is a NotImplementedError: it is never guessed."""
        backend, ids = self.toy.backend, toy.text_ids(4, 1)
        settings, decode = GenerationSettings(2), self.toy.tokenizer.decode
        asked: dict[str, Callable[[], object]] = {
            "score": lambda: list(backend.score([ScoreGroup(ids, (ids[1:],))])),
            "generate": lambda: list(backend.generate([Prompt(ids)], settings, decode)),
            "top_logprobs": lambda: list(backend.top_logprobs(ids, 2)),
            "memory": backend.memory,
            "time": lambda: next(backend.time(Workload((ids,), 1))),
        }
        for capability in sorted(asked.keys() - self.backend.capabilities):
            _is_refused(asked[capability], capability)


def _is_distribution(found: TopLogprobs, vocabulary: int, tolerance: float) -> None:
    expect(sorted(found.ids) == list(range(vocabulary)), "not each token of the vocabulary is there once")
    expect(_falling(found.logprobs), "the likeliest is not first")
    total = math.fsum(map(math.exp, found.logprobs))
    expect(abs(total - 1) <= tolerance, f"the probabilities sum to {total:.6f}")


def _falling(numbers: Iterable[float]) -> bool:
    listed = list(numbers)
    return listed == sorted(listed, reverse=True)


def _is_refused(ask: Callable[[], object], capability: str) -> None:
    try:
        answer = ask()
    except NotImplementedError:
        return
    raise AssertionError(f"{capability} is not declared, and gave {answer!r}")
