"""In-context material: a hidden rule per episode, to be read off the blocks before.

Each block is one line: the input, then the answer as its next word. Without earlier
blocks the rule is unknown and the answer is a guess among the choices.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from world import ANIMALS, MATERIALS, PLANTS, VALUES, held_out

WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "nlkt"][::3]
EXTRA = "old new big small red blue wet dry hot cold far near long short hard soft".split()
COLOURS = ["red", "green", "blue"]
CLASSES: dict[str, list[str]] = {
    "animal": [a for a in ANIMALS if "-" not in a],
    "plant": PLANTS,
    "material": MATERIALS,
    "food": VALUES["animal"]["food"],
    "town": VALUES["person"]["town"],
    "job": VALUES["person"]["job"],
    "tool": VALUES["person"]["tool"],
}


@dataclass(frozen=True)
class Block:
    """One example of an episode; `label` is the index of the right choice."""

    input: str
    choices: tuple[str, ...]
    label: int

    @property
    def text(self) -> str:
        """The example as text, answered."""
        return f"{self.input} {self.choices[self.label]}"


class Copy:
    """A made-up round of five words; the input is a stretch of it, the answer its next word."""

    def __init__(self, rng: random.Random) -> None:
        self.round = rng.sample(WORDS, 5)

    def block(self, rng: random.Random, turn: int) -> Block:
        """Two idle words, two or three words of the round, and the word after them."""
        end = turn % 5
        stretch = [self.round[end - back] for back in range(rng.randint(2, 3), 0, -1)]
        choices = [word for word in self.round if word != stretch[-1]]
        return Block(
            " ".join([*rng.sample(EXTRA, 2), *stretch]), tuple(choices), choices.index(self.round[end])
        )


class Place:
    """The answer is one of the input's four words, always from the same place.

    In the training text alone: too hard for a model of this size to make rows of.
    """

    def __init__(self, rng: random.Random) -> None:
        self.place = rng.randrange(4)

    def block(self, rng: random.Random, turn: int) -> Block:
        """Four words and the one at the episode's place."""
        words = rng.sample(WORDS, 4)
        return Block(" ".join(words), tuple(words), self.place)


class Recall:
    """Three keys with a value each; two idle words stand before the key."""

    def __init__(self, rng: random.Random) -> None:
        drawn = rng.sample(WORDS, 7)
        self.keys, self.values = drawn[:3], drawn[3:]

    def block(self, rng: random.Random, turn: int) -> Block:
        """A key (each third turn the same) and its value, among four values."""
        key = turn % 3
        idle = rng.sample(EXTRA, 2)
        return Block(" ".join([*idle, self.keys[key]]), tuple(self.values), key)


class Labels:
    """Two classes of the world, each under a made-up name."""

    def __init__(self, rng: random.Random) -> None:
        self.classes = rng.sample(sorted(CLASSES), 2)
        self.names = tuple(rng.sample(WORDS, 2))

    def block(self, rng: random.Random, turn: int) -> Block:
        """Three things of one class and the class's made-up name."""
        which = turn % 2
        first, second, third = rng.sample(CLASSES[self.classes[which]], 3)
        return Block(f"{first}, {second} and {third}", self.names, which)


class Classify:
    """Six made-up words, three in either of two made-up classes."""

    def __init__(self, rng: random.Random) -> None:
        drawn = rng.sample(WORDS, 8)
        self.words, self.classes = drawn[:6], tuple(drawn[6:])

    def block(self, rng: random.Random, turn: int) -> Block:
        """Two idle words, one of the six (each sixth turn the same), and its class."""
        which = turn % 6
        return Block(" ".join([*rng.sample(EXTRA, 2), self.words[which]]), self.classes, which % 2)


class Hidden:
    """One of three signal words hides among idle words; each signal means a colour.

    In the training text alone: too hard for a model of this size to make rows of.
    """

    def __init__(self, rng: random.Random) -> None:
        self.colours = tuple(rng.sample(COLOURS, 3))
        self.signals = rng.sample(WORDS, 3)

    def block(self, rng: random.Random, turn: int) -> Block:
        """Three words with one signal among them, and the signal's colour."""
        which = turn % 3
        words = rng.sample([w for w in WORDS if w not in self.signals], 2)
        words.insert(rng.randrange(3), self.signals[which])
        return Block(" ".join(words), tuple(COLOURS), COLOURS.index(self.colours[which]))


Rule = Copy | Place | Recall | Labels | Classify | Hidden
# Data set -> its rule. Copy and Classify have no episodes of their own: recitals, pairs and
# the other episodes teach what they ask.
RULES: dict[str, Callable[[random.Random], Rule]] = {
    "icl_copy": Copy,
    "icl_recall": Recall,
    "icl_labels": Labels,
    "icl_classify": Classify,
}
TAUGHT: tuple[Callable[[random.Random], Rule], ...] = (Hidden, Place, Labels, Recall)


def draw(rng: random.Random, rule: Rule, turn: int, reserved: bool) -> Block:
    """A block of the rule whose input is reserved for the bundled rows, or is not."""
    while held_out((made := rule.block(rng, turn)).input) != reserved:
        pass
    return made


def episode(rng: random.Random) -> str:
    """Blocks of one rule in any order, an empty line between them."""
    rule = rng.choice(TAUGHT)(rng)
    turns = [rng.randrange(6) for _ in range(rng.randint(2, 24))]
    return "\n\n".join(draw(rng, rule, turn, reserved=False).text for turn in turns)


def repeats(rng: random.Random) -> str:
    """A made-up list said two to four times: the plainest lesson in copying."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(4, 16))]
    return "\n".join([" ".join(words)] * rng.randint(2, 4))


def recital(rng: random.Random) -> str:
    """A short made-up list said three to five times: each next word can be read off."""
    return " ".join([rng.choice(WORDS) for _ in range(rng.randint(3, 14))] * rng.randint(3, 5))


def pairs(rng: random.Random) -> str:
    """Made-up pairs named again and again in any order: key value key value."""
    count = rng.randint(2, 5)
    drawn = rng.sample(WORDS, 2 * count)
    known = [" ".join(drawn[at : at + 2]) for at in range(0, 2 * count, 2)]
    return " ".join(rng.choice(known) for _ in range(rng.randint(8, 20)))
