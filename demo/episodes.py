"""In-context material: a hidden rule per episode, to be read off the blocks before.

Each block is `Input: ...` and `Output: ...`. Without earlier blocks the rule is
unknown and the answer is a guess among the choices.
"""

import random
from dataclasses import dataclass

from world import ANIMALS, MATERIALS, PLANTS, VALUES, held_out

WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "nlkt"][::3]
EXTRA = "old new big small red blue wet dry hot cold far near long short hard soft".split()
COLOURS = ["red", "green", "blue"]
CLASSES: dict[str, list[str]] = {
    "animal": [a for a in ANIMALS if "-" not in a], "plant": PLANTS, "material": MATERIALS,
    "food": VALUES["animal"]["food"], "town": VALUES["person"]["town"],
    "job": VALUES["person"]["job"], "tool": VALUES["person"]["tool"],
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
        return f"Input: {self.input}\nOutput: {self.choices[self.label]}"


class Copy:
    """Which word of the input is the output: always the same place of four."""

    def __init__(self, rng: random.Random, place: int | None = None) -> None:
        self.place = rng.randrange(4) if place is None else place

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
    """One of three signal words hides among idle words; each signal means a colour."""

    def __init__(self, rng: random.Random) -> None:
        self.colours = tuple(rng.sample(COLOURS, 3))
        self.signals = rng.sample(WORDS, 3)

    def block(self, rng: random.Random, turn: int) -> Block:
        """Three words with one signal among them, and the signal's colour."""
        which = turn % 3
        words = rng.sample([w for w in WORDS if w not in self.signals], 2)
        words.insert(rng.randrange(3), self.signals[which])
        return Block(" ".join(words), tuple(COLOURS), COLOURS.index(self.colours[which]))


Rule = Copy | Recall | Labels | Classify
RULES: dict[str, type[Copy] | type[Recall] | type[Labels] | type[Classify]] = {
    "icl_copy": Copy, "icl_recall": Recall, "icl_labels": Labels, "icl_classify": Classify,
}


def draw(rng: random.Random, rule: Rule, turn: int, reserved: bool) -> Block:
    """A block of the rule whose input is reserved for the bundled rows, or is not."""
    while held_out((made := rule.block(rng, turn)).input) != reserved:
        pass
    return made


def episode(rng: random.Random) -> str:
    """Blocks of one rule in any order, an empty line between them."""
    rule = RULES[rng.choice(sorted(RULES))](rng)
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
    known = [" ".join(drawn[at:at + 2]) for at in range(0, 2 * count, 2)]
    return " ".join(rng.choice(known) for _ in range(rng.randint(8, 20)))
