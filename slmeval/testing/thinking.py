"""The clauses about what a model thinks before it answers."""

from __future__ import annotations

from collections.abc import Iterator

from slmeval.stopping import Stopper
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import expect
from slmeval.types import Completion, GenerationSettings, Thought, TokenIds

#: tokens in which a thought ends, and what ends the text comes before and after
SOME = 20


class ThoughtClauses(Clauses):
    """Where does a thought end, and what is left of the text?"""

    def test_a_stop_string_within_a_thought_does_not_end_it(self) -> None:
        """A stop string counts from the end of a thought on; there it ends the text as ever."""
        prompt, mark, stop = next(self._marked())
        self._is_right(prompt, GenerationSettings(SOME, stop=(stop,), thought=_closed_by(mark)))

    def test_a_thought_stands_apart_from_the_text(self) -> None:
        """The text is what follows a thought, and nothing where it never ends; its tokens are counted."""
        prompt, mark, _ = next(self._marked())
        for closes in (mark, "\0"):
            self._is_right(prompt, GenerationSettings(SOME, thought=_closed_by(closes)))

    def _is_right(self, prompt: TokenIds, settings: GenerationSettings) -> None:
        right, found = self._wanted(prompt, settings), self.toy.text(prompt, settings)
        expect(found == right, f"{settings}: {found} should be {right}")

    def _wanted(self, prompt: TokenIds, settings: GenerationSettings) -> Completion:
        stopper = Stopper(settings, self.toy.tokenizer.decode)
        for token in self.toy.truth.greedy(prompt, SOME):
            if stopper.push(token) is not None:
                break
        return stopper.completion()

    def _marked(self) -> Iterator[tuple[TokenIds, str, str]]:
        """Prompts after which a letter is written before and after another one, which stands alone there."""
        for prompt in self.toy.sure_prompts(SOME):
            text = self.toy.tokenizer.decode(self.toy.truth.greedy(prompt, SOME))
            for at in range(4, len(text) - 2):
                before, rest = text[:at], text[at + 1 :]
                for stop in sorted(set(before) & set(rest[1:])):
                    answer = rest[: rest.find(stop)]
                    if text[at].isalpha() and stop.isalpha() and text[at] not in before + answer and answer:
                        yield prompt, text[at], stop


def _closed_by(mark: str) -> Thought:
    return Thought(opens="(", closes=mark, begun=True)
