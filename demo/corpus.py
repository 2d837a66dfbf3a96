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


# Each maker with its weights, how often a document of this kind is drawn: at first, and
# later, when the facts are known and reading from the context is still to be learned.
KINDS: tuple[tuple[Maker, float, float], ...] = (
    (facts.page, 22, 16), (facts.sizes, 6, 6), (joined(facts.training_block, 7), 16, 16),
    (joined(deeds.training_block, 7), 10, 5), (remarks, 3, 2),
    (joined(howto.training_block, 7), 8, 5), (joined(sums.training_block, 7), 8, 9),
    (episodes.episode, 24, 24), (episodes.repeats, 6, 8),
    (episodes.recital, 0, 14), (episodes.pairs, 0, 14),
)


def documents(seed: str, later: bool = False) -> Iterator[str]:
    """Documents without end; the same seed gives the same documents."""
    rng = random.Random(seed)
    makers = [maker for maker, _, _ in KINDS]
    weights = [after if later else first for _, first, after in KINDS]
    while True:
        yield rng.choices(makers, weights=weights)[0](rng)
