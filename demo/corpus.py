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
    (facts.page, 22), (facts.sizes, 6), (joined(facts.training_block, 7), 16),
    (joined(deeds.training_block, 7), 10), (remarks, 3),
    (joined(howto.training_block, 7), 8), (joined(sums.training_block, 7), 8),
    (episodes.episode, 24), (episodes.repeats, 6),
)


def documents(seed: str) -> Iterator[str]:
    """Documents without end; the same seed gives the same documents."""
    rng = random.Random(seed)
    makers, weights = zip(*KINDS)
    while True:
        maker: Maker = rng.choices(makers, weights=weights)[0]
        yield maker(rng)
