"""The clauses about ``score``."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from slmeval.testing import toy
from slmeval.testing.cases import requests
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, expect
from slmeval.types import GenerationSettings, Likelihood, ScoreGroup, TokenIds


class ScoreClauses(Clauses):
    """How likely is this continuation after this context?"""

    # ---- the numbers ---------------------------------------------------------------------------------

    def test_log_probabilities_are_the_oracles(self) -> None:
        """Each continuation, asked alone, is as likely as the truth has it."""
        for subject in self.subjects:
            for context, continuation in subject.cases.long:
                right = subject.truth.likelihood(context, continuation)
                self.exact(
                    subject.one(context, continuation), right, f"{subject.model}, {len(context)} tokens"
                )

    def test_probabilities_sum_to_one(self) -> None:
        """All tokens of the vocabulary together are certain, after a context and after one token more."""
        for subject in self.subjects:
            context = subject.cases.apart[0].context
            every = range(subject.vocabulary)
            self._sums_to_one(subject, context, [(token,) for token in every])
        start = toy.text_ids(2, 1)[1:]
        self._sums_to_one(self.toy, toy.text_ids(9, 2), [(*start, token) for token in range(toy.VOCABULARY)])

    def _sums_to_one(self, subject: Subject, context: TokenIds, continuations: Sequence[TokenIds]) -> None:
        (answers,) = subject.score([ScoreGroup(context, tuple(continuations))])
        total = math.fsum(math.exp(answer.token_logprobs[-1]) for answer in answers)
        expect(abs(total - 1) <= self.tolerance, f"{subject.model}: the probabilities sum to {total:.6f}")

    def test_says_whether_a_continuation_was_the_most_likely(self) -> None:
        """``greedy`` is true where each token was the likeliest, and false where one was not."""
        for subject in self.subjects:
            prompt = subject.sure_prompts(4)[0]
            best = subject.truth.greedy(prompt, 4)
            found = [subject.one(prompt, ids).greedy for ids in (best, (*best[:3], best[3] ^ 1), best[:1])]
            expect(found == [True, False, True], f"{subject.model}: greedy is {found}, not True, False, True")

    # ---- the same in any company -----------------------------------------------------------------------

    def test_alone_and_in_a_batch_are_the_same(self) -> None:
        """Groups of several lengths in one call get what each of them gets alone."""
        for subject in self.subjects:
            groups = subject.cases.apart
            self.all_exact(subject.score(groups), _alone(subject, groups), f"{subject.model} in a batch")

    def test_the_order_of_groups_does_not_matter(self) -> None:
        """The same groups backwards, and shuffled, get the same answers."""
        for subject in self.subjects:
            groups = subject.cases.apart
            before = subject.score(groups)
            places = range(len(groups))
            for order in (places[::-1], random.Random(1).sample(places, len(groups))):
                found = subject.score([groups[at] for at in order])
                self.all_exact(found, [before[at] for at in order], f"{subject.model} in another order")

    def test_a_shared_prefix_changes_nothing(self) -> None:
        """Groups that share more and more, and say so, get what each of them gets alone."""
        for subject in self.subjects:
            groups = subject.cases.family
            self.all_exact(subject.score(groups), _alone(subject, groups), f"{subject.model} with hints")

    def test_the_hint_may_be_left_out(self) -> None:
        """The same groups without the hint get what each of them gets alone."""
        for subject in self.subjects:
            groups = [replace(group, shared=0) for group in subject.cases.family]
            self.all_exact(subject.score(groups), _alone(subject, groups), f"{subject.model} without hints")

    def test_continuations_do_not_see_each_other(self) -> None:
        """A continuation beside others, repeated or longer ones, gets what it gets alone."""
        for subject in self.subjects:
            group = subject.cases.apart[0]
            several = (*group.continuations, group.continuations[0], group.continuations[1][:-1])
            (found,) = subject.score([replace(group, continuations=several)])
            alone = [subject.one(group.context, continuation) for continuation in several]
            self.all_exact([found], [alone], f"{subject.model} beside others")

    def test_the_same_call_gives_the_same_bits(self) -> None:
        """What is asked twice is answered twice in the same way, to the last bit."""
        for subject in self.subjects:
            once, again = (subject.score(subject.cases.apart) for _ in range(2))
            expect(once == again, f"{subject.model}: asked again, the log-probabilities have other bits")

    # ---- edges ---------------------------------------------------------------------------------------

    def test_an_empty_context(self) -> None:
        """After BOS alone: a few tokens, and a text that fills the model's context."""
        for subject in self.subjects:
            first, text = subject.cases.long[0][0][:1], subject.cases.long[0][0][1:]
            self._near_truth(subject, first, text, "after BOS alone")
        whole = toy.text_ids(toy.CONTEXT + 1, 3)
        self._near_truth(self.toy, whole[:1], whole[1:], "a text as long as the context")

    def test_a_continuation_of_one_token(self) -> None:
        """One token is as likely alone as at the beginning of more."""
        for subject in self.subjects:
            for group in subject.cases.apart:
                more = group.continuations[1]
                first = Likelihood(subject.one(group.context, more).token_logprobs[:1], False)
                self.exact(subject.one(group.context, more[:1]), first, f"{subject.model}, one token")

    def test_a_continuation_that_merges_with_its_context(self) -> None:
        """Token ids are taken as they come, also where a tokenizer would have made others of the text."""
        for subject in self.subjects:
            for context, continuation in subject.cases.merged:
                self._near_truth(subject, context, continuation, "a continuation that merges")

    def test_a_context_of_any_number_of_blocks(self) -> None:
        """A context that fills blocks of 16, 32, 64 or 128 tokens is scored as one token before its end."""
        for length in (16, 32, 64, 128):
            ids = toy.text_ids(length + 5, length)
            found = self.toy.one(ids[:length], ids[length:])
            right = self.toy.one(ids[: length - 1], ids[length - 1 :])
            tail = Likelihood(right.token_logprobs[1:], right.greedy)
            self.exact(found, tail, f"a context of {length} tokens")

    def test_unicode_and_bytes(self) -> None:
        """Characters of several tokens, and bytes that make up no character."""
        for subject in self.subjects:
            for context, continuation in subject.cases.unicode:
                self._near_truth(subject, context, continuation, "bytes")

    def test_the_context_is_used_to_its_last_token(self) -> None:
        """Context and continuation may have one token more than the model's context."""
        for at in (toy.CONTEXT, toy.CONTEXT - 6):
            ids = toy.text_ids(toy.CONTEXT + 1, at)
            self._near_truth(self.toy, ids[:at], ids[at:], f"{at} tokens of {toy.CONTEXT}")

    def test_what_does_not_fit_is_refused(self) -> None:
        """One token more than that is a ValueError: not a crash, nor an answer about something shorter."""
        ids = toy.text_ids(toy.CONTEXT + 2, 5)
        for at in (toy.CONTEXT + 1, toy.CONTEXT - 4):
            self._refused(ScoreGroup(ids[:at], (ids[at:],)), f"{len(ids)} tokens for {toy.CONTEXT}")

    def test_an_unknown_token_is_refused(self) -> None:
        """A token id outside of the vocabulary is a ValueError, in a context and in a continuation."""
        ids = toy.text_ids(5, 6)
        for wrong in (-1, toy.VOCABULARY, 1 << 40):
            self._refused(ScoreGroup((*ids, wrong), (ids[1:3],)), f"token {wrong}")
            self._refused(ScoreGroup(ids, ((wrong,),)), f"token {wrong}")

    def _refused(self, group: ScoreGroup, what: str) -> None:
        try:
            answers = self.toy.score([group])
        except ValueError:
            return
        raise AssertionError(f"{what} were answered, and should be a ValueError: {answers}")

    # ---- many ----------------------------------------------------------------------------------------

    def test_nothing_asked_is_nothing_answered(self) -> None:
        """No groups and no prompts get no answers, and no error."""
        expect(self.toy.score([]) == [], "no groups were given answers")
        if "generate" in self.backend.capabilities:
            expect(self.toy.write([], GenerationSettings(5)) == [], "no prompts were given texts")

    def test_a_thousand_requests(self) -> None:
        """A thousand groups in one call are answered each with its own answer."""
        groups = sorted(requests(1000), key=lambda group: group.context)
        for at, (group, (found,)) in enumerate(zip(groups, self.toy.score(groups), strict=True)):
            self.near(found, self.toy.truth.likelihood(group.context, *group.continuations), f"request {at}")

    def _near_truth(self, subject: Subject, context: TokenIds, continuation: TokenIds, what: str) -> None:
        right = subject.truth.likelihood(context, continuation)
        self.near(subject.one(context, continuation), right, f"{subject.model}, {what}")


def _alone(subject: Subject, groups: Sequence[ScoreGroup]) -> list[tuple[Likelihood, ...]]:
    return [subject.score([replace(group, shared=0)])[0] for group in groups]
