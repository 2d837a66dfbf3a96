"""The training text: documents of every kind, made without end from a seed."""

import random
from collections.abc import Callable, Iterator

import deeds
import episodes
import facts
import howto
import sums

Maker = Callable[[random.Random], str]


def joined(maker: Maker, most: int) -> Maker:
    """Several blocks of one kind with an empty line between them, as shots are joined."""

    def several(rng: random.Random) -> str:
        return "\n\n".join(maker(rng) for _ in range(rng.randint(1, most)))

    return several


def remarks(rng: random.Random) -> str:
    """Some sentences about materials."""
    return " ".join(howto.remark(rng) for _ in range(rng.randint(2, 8)))


# Each maker with its weight: how often a document of this kind is drawn.
KINDS: tuple[tuple[Maker, float], ...] = (
    (facts.page, 20),
    (facts.sizes, 5),
    (joined(facts.training_block, 7), 20),
    (joined(deeds.training_block, 7), 6),
    (remarks, 3),
    (joined(howto.training_block, 7), 7),
    (joined(sums.training_block, 7), 9),
    (episodes.episode, 24),
    (episodes.repeats, 4),
    (episodes.recital, 40),
    (episodes.pairs, 30),
)
# The mix of the first steps: half of it is plain copying.
LESSONS: tuple[tuple[Maker, float], ...] = (*KINDS, (episodes.recital, 200), (episodes.pairs, 150))
# The mix of the last steps: once copying works, more of the facts.
FACTS: tuple[tuple[Maker, float], ...] = (
    (facts.page, 44),
    (facts.sizes, 10),
    (joined(facts.training_block, 7), 44),
    (joined(deeds.training_block, 7), 6),
    (remarks, 3),
    (joined(howto.training_block, 7), 7),
    (joined(sums.training_block, 7), 8),
    (episodes.episode, 18),
    (episodes.recital, 12),
    (episodes.pairs, 9),
)


def mix(step: int) -> tuple[tuple[Maker, float], ...]:
    """The mix for a step of the training."""
    if step < 200:
        return LESSONS
    return KINDS if step < 600 else FACTS


def documents(seed: str, kinds: tuple[tuple[Maker, float], ...] = KINDS) -> Iterator[str]:
    """Documents without end; the same seed gives the same documents."""
    rng = random.Random(seed)
    makers = [maker for maker, _ in kinds]
    weights = [weight for _, weight in kinds]
    while True:
        yield rng.choices(makers, weights=weights)[0](rng)
