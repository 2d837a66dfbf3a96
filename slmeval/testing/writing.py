"""The clauses about ``generate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slmeval.prefixes import prompts_in_prefix_order
from slmeval.testing import toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, expect
from slmeval.types import Completion, GenerationSettings, Prompt, TokenIds

#: tokens that all clauses but the first two let be written: so many that something happens
SOME = 10


class GenerateClauses(Clauses):
    """What does the model write after this prompt?"""

    def test_greedy_texts_are_the_oracles(self) -> None:
        """The likeliest token is taken each time, as far as it is beyond doubt which one that is."""
        for subject in self.subjects:
            for prompt in subject.cases.prompts[:8]:
                right = subject.truth.greedy(prompt, 24)
                found = subject.text(prompt, GenerationSettings(24)).ids
                same = found[: len(right)] == right
                expect(same, f"{subject.model}: {prompt} is followed by {found}, and should be by {right}")

    def test_a_text_has_as_many_tokens_as_asked_for(self) -> None:
        """The token cap is kept to the token, and called "length"; none may be asked for."""
        for subject in self.subjects:
            prompt = subject.sure_prompts(SOME)[0]
            for cap in (0, 1, 5):
                found = subject.text(prompt, GenerationSettings(cap))
                right = subject.truth.greedy(prompt, SOME)[:cap]
                self._is(
                    found, Completion(subject.tokenizer.decode(right), right, "length"), f"a cap of {cap}"
                )

    def test_a_text_is_decoded_as_a_whole(self) -> None:
        """A character of several tokens comes out as one."""
        prompt, right = self._first("é", self.toy)
        found = self.toy.text(prompt, GenerationSettings(SOME))
        self._is(
            found, Completion(self.toy.tokenizer.decode(right), right, "length"), "a character of two tokens"
        )

    # ---- where a text ends -----------------------------------------------------------------------------

    def test_a_stop_string_ends_a_text(self) -> None:
        """The text ends with the token that completes a stop string, and is cut before the first of them."""
        for subject in self.subjects:
            prompt, right, at = self._fresh_token(subject)
            stop = subject.tokenizer.decode(right[at : at + 1])
            self._stops(subject, prompt, right, ("\0", stop))

    def test_a_stop_string_may_span_tokens(self) -> None:
        """A stop string that begins in one token and ends in another ends the text all the same."""
        for subject in self.subjects:
            prompt, right, at = self._fresh_token(subject)
            before, new = (subject.tokenizer.decode(ids) for ids in (right[:at], right[: at + 1]))
            self._stops(subject, prompt, right, (new[len(before) - 2 : len(before) + 1],))

    def _stops(self, subject: Subject, prompt: TokenIds, right: TokenIds, stop: tuple[str, ...]) -> None:
        texts = [subject.tokenizer.decode(right[: end + 1]) for end in range(len(right))]
        end = next(at for at, text in enumerate(texts) if stop[-1] in text)
        wanted = Completion(texts[end][: texts[end].index(stop[-1])], right[: end + 1], "stop")
        found = subject.text(prompt, GenerationSettings(SOME, stop=stop))
        self._is(found, wanted, f"{subject.model}, stop strings {stop}")

    def test_an_end_token_ends_a_text(self) -> None:
        """Any of the end tokens ends the text, is the last of its ids, and is no part of what it says."""
        for subject in self.subjects:
            prompt, right, at = self._fresh_token(subject)
            found = subject.text(prompt, GenerationSettings(SOME, end_ids=(0, right[at])))
            wanted = Completion(subject.tokenizer.decode(right[:at]), right[: at + 1], "end")
            self._is(found, wanted, f"{subject.model}, end token {right[at]}")

    def test_no_other_token_ends_a_text(self) -> None:
        """Where EOS is not among the end tokens, the text goes on after it."""
        prompt, right = next(
            (prompt, right)
            for prompt in self.toy.sure_prompts(SOME)
            if toy.EOS in (right := self.toy.truth.greedy(prompt, SOME))[:-1]
        )
        found = self.toy.text(prompt, GenerationSettings(SOME))
        expect(found.ids == right, f"EOS is not an end token: {found.ids} should be {right}")

    def test_a_text_ends_where_the_context_is_full(self) -> None:
        """Prompt and text together have as many tokens as the model's context; that too is "length"."""
        for room in (0, 3):
            prompt = toy.text_ids(toy.CONTEXT - room, 2)
            right = self.toy.truth.greedy(prompt, room)
            found = self.toy.text(prompt, GenerationSettings(SOME))
            self._is(found, Completion(self.toy.tokenizer.decode(right), right, "length"), f"room for {room}")

    def test_a_prompt_that_does_not_fit_is_refused(self) -> None:
        """A prompt of more tokens than the model's context is a ValueError."""
        prompt = toy.text_ids(toy.CONTEXT + 1, 4)
        try:
            found = self.toy.text(prompt, GenerationSettings(SOME))
        except ValueError:
            return
        raise AssertionError(f"{len(prompt)} tokens of prompt should be a ValueError, and became {found}")

    # ---- in company ------------------------------------------------------------------------------------

    def test_prompts_in_a_batch_are_answered_in_order(self) -> None:
        """Prompts of several lengths in one call are followed by what follows each of them alone."""
        for subject in self.subjects:
            prompts = sorted(subject.sure_prompts(SOME)[:6], key=lambda ids: -len(ids))
            self._batch(subject, [Prompt(ids) for ids in prompts], "a batch")

    def test_prompts_may_share_a_prefix(self) -> None:
        """Prompts that share more and more, and say so, are followed by what follows each of them alone."""
        start = toy.text_ids(33, 4)
        tails = [toy.text_ids(length, length)[1:] for length in range(1, 24)]
        sure = [ids for tail in tails if len(self.toy.truth.greedy(ids := start + tail, SOME)) == SOME]
        self._batch(self.toy, prompts_in_prefix_order(map(Prompt, sure)), "a batch with hints")

    def _batch(self, subject: Subject, prompts: Sequence[Prompt], what: str) -> None:
        settings = GenerationSettings(SOME, end_ids=(subject.truth.greedy(prompts[0].ids, SOME)[-1],))
        together = subject.write(prompts, settings)
        for prompt, found in zip(prompts, together, strict=True):
            alone = subject.text(replace(prompt, shared=0).ids, settings)
            self._is(found, alone, f"{subject.model}, {what}")

    # ---- what is right -----------------------------------------------------------------------------------

    def _is(self, found: Completion, right: Completion, what: str) -> None:
        expect(found == right, f"{what}: {found} should be {right}")

    def _first(self, part: str, subject: Subject) -> tuple[TokenIds, TokenIds]:
        """A prompt after which the model writes ``part`` early on, and the tokens that it writes."""
        for prompt in subject.sure_prompts(SOME):
            right = subject.truth.greedy(prompt, SOME)
            if part in subject.tokenizer.decode(right[:-1]):
                return prompt, right
        raise LookupError(f"after no prompt the {subject.model} model writes {part!r}")

    def _fresh_token(self, subject: Subject) -> tuple[TokenIds, TokenIds, int]:
        """A prompt, the tokens that follow, and the place of one that says what none before it said."""
        for prompt in subject.sure_prompts(SOME):
            right = subject.truth.greedy(prompt, SOME)
            texts = [subject.tokenizer.decode(right[:end]) for end in range(SOME + 1)]
            for at in range(3, SOME - 1):
                new = texts[at + 1][len(texts[at]) :]
                plain = texts[at + 1].startswith(texts[at]) and new.isascii() and texts[at].isascii()
                if plain and new.strip() and new not in texts[at] and right[at] not in right[:at]:
                    return prompt, right, at
        raise LookupError(f"the {subject.model} model writes nothing new")
