"""The clauses about "sample": texts that are drawn at a temperature, each with a seed of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from slmeval.testing import toy
from slmeval.testing.clauses import Clauses
from slmeval.testing.subject import Subject, expect, needs
from slmeval.types import Completion, GenerationSettings, Prompt, TokenIds

#: drawn at this temperature and top_p, texts of so many tokens are hardly ever alike
WARM = GenerationSettings(12, temperature=1.2, top_p=0.98)
#: no token but the likeliest is ever drawn so; vLLM takes no temperature below a hundredth
COLD, COLD_MARGIN = 0.01, 0.35
#: tokens that are written where all of them must be the likeliest
FEW = 6
#: the distribution: one prompt, its first token drawn so often, its nucleus far from any doubt
DRAWS, SPREAD = 600, GenerationSettings(1, temperature=0.6, top_p=0.9)
#: a sound engine's counts are further off than the bound about once in ten million
RARE = 1e-7


class SampleClauses(Clauses):
    """What is drawn, from which distribution and by which seed?"""

    def test_the_same_seed_draws_the_same_text(self) -> None:
        """The same prompt with the same seed is followed by the same text when it is asked again."""
        for subject in self._drawing():
            prompt = Prompt(subject.cases.prompts[0], seed=3)
            first, second = (subject.write([prompt], WARM) for _ in range(2))
            expect(first == second, f"{subject.model}: seed 3 draws {first}, and then {second}")

    def test_each_seed_draws_a_text_of_its_own(self) -> None:
        """Of a few seeds no two draw the same text after one prompt."""
        settings = GenerationSettings(12, temperature=1.5)
        for subject in self._drawing():
            prompt = subject.cases.prompts[1]
            found = [subject.write([Prompt(prompt, seed=seed)], settings)[0] for seed in range(6)]
            expect(len({each.ids for each in found}) == 6, f"{subject.model}: six seeds draw {_ids(found)}")

    def test_drawn_alone_and_in_a_batch_the_text_is_the_same(self) -> None:
        """What is drawn after one prompt does not depend on what else is drawn in the call."""
        for subject in self._drawing():
            prompts = [Prompt(ids, seed=40 + at) for at, ids in enumerate(subject.cases.prompts[2:7])]
            self._as_alone(subject, prompts, WARM)

    def test_one_prompt_may_be_drawn_from_with_several_seeds(self) -> None:
        """Equal prompts with several seeds in one call are followed by what each draws alone."""
        for subject in self._drawing():
            equal = [Prompt(subject.cases.prompts[1], seed=seed) for seed in range(70, 76)]
            other = Prompt(subject.cases.prompts[2], seed=70)
            self._as_alone(subject, [*equal[:4], other, *equal[4:]], WARM)

    def test_at_a_low_temperature_the_likeliest_tokens_are_drawn(self) -> None:
        """The colder, the surer: at a hundredth a text is the greedy one, as far as that is beyond doubt."""
        self._is_greedy(GenerationSettings(FEW, temperature=COLD))

    def test_a_small_top_p_leaves_the_likeliest_token(self) -> None:
        """Where one token has more than ``top_p`` by itself, no other is drawn."""
        self._is_greedy(GenerationSettings(FEW, temperature=1.0, top_p=0.001))

    def test_tokens_are_drawn_as_often_as_they_are_likely(self) -> None:
        """First tokens are spread as the model says, at the temperature and then within the nucleus.

        A chi-square test; an engine that is right fails it about once in ten million.
        """
        needs(self.backend, "sample")
        prompt, right = _spread()
        asked = [Prompt(prompt, seed=seed) for seed in range(DRAWS)]
        counts = Counter(found.ids[0] for found in self.toy.write(asked, SPREAD))
        stray = {token: times for token, times in counts.items() if not right[token]}
        expect(not stray, f"of {DRAWS} tokens these are not in the nucleus: {stray}")
        wanted = {int(token): DRAWS * right[token] for token in np.flatnonzero(right)}
        found = sum((counts[token] - times) ** 2 / times for token, times in wanted.items())
        told = ", ".join(f"token {token} {counts[token]} ({times:.0f})" for token, times in wanted.items())
        bound = _chi_square(len(wanted) - 1)
        expect(found <= bound, f"drawn, and expected: {told}; chi-square is {found:.0f}, above {bound:.0f}")

    # ---- what is right -----------------------------------------------------------------------------------

    def _drawing(self) -> Sequence[Subject]:
        needs(self.backend, "sample")
        return tuple(self.subjects)

    def _as_alone(self, subject: Subject, prompts: Sequence[Prompt], settings: GenerationSettings) -> None:
        for prompt, found in zip(prompts, subject.write(prompts, settings), strict=True):
            (alone,) = subject.write([prompt], settings)
            expect(found == alone, f"{subject.model}, seed {prompt.seed}: {found} should be {alone}")

    def _is_greedy(self, settings: GenerationSettings) -> None:
        needs(self.backend, "sample")
        for prompt in _sure_prompts(self.toy):
            (found,) = self.toy.write([Prompt(prompt, seed=len(prompt))], settings)
            right = self.toy.truth.greedy(prompt, FEW)
            expect(found.ids == right, f"{prompt} is followed by {found.ids}, and should be by {right}")


def _ids(found: Sequence[Completion]) -> str:
    return "; ".join(" ".join(map(str, each.ids)) for each in found)


def _sure_prompts(subject: Subject) -> list[TokenIds]:
    """Four prompts of the toy model after which the likeliest token is far ahead each time."""
    sure = [ids for ids in subject.sure_prompts(FEW) if _is_sure(ids, subject.truth.greedy(ids, FEW))]
    return sure[:4]


def _is_sure(prompt: TokenIds, written: TokenIds) -> bool:
    first, second = np.sort(toy.logits(prompt + written[:-1])[len(prompt) - 1 :], axis=1).T[:-3:-1]
    return bool((first - second).min() > COLD_MARGIN)


def _spread() -> tuple[TokenIds, NDArray[np.float64]]:
    """A prompt of the toy model, and how likely each token is to be drawn after it: float64[VOCABULARY]."""
    prompt = toy.text_ids(19, 2)
    logits = toy.logits(prompt)[-1]
    weights = np.exp((logits - logits.max()) / SPREAD.temperature)
    order = np.argsort(-weights)
    before = np.cumsum(weights[order]) - weights[order]
    weights[order[before >= SPREAD.top_p * weights.sum()]] = 0
    found: NDArray[np.float64] = weights / weights.sum()
    return prompt, found


def _chi_square(freedom: int) -> float:
    """What chi-square is above once in ``1 / RARE`` times (Wilson and Hilferty 1931)."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part - NormalDist().inv_cdf(RARE) * part**0.5) ** 3)
