"""Goals and the tool that fits: the tool follows from the verb and the material.

Some pairs of verb and thing never occur in the training text; their tool must be
worked out from other things of the same material.
"""

import random
from dataclasses import dataclass

from world import held_out

MADE_OF: dict[str, list[str]] = {
    "wood": ["plank", "stool", "fence post", "barrel", "log", "wooden box", "oar", "broomstick"],
    "metal": ["pipe", "key", "iron bar", "bell", "chain", "horseshoe", "tin can", "anchor"],
    "cloth": ["curtain", "shirt", "sail", "blanket", "towel", "ribbon", "tablecloth", "sack"],
    "glass": ["window", "bottle", "mirror", "jar", "lens", "lantern", "glass bead", "vase"],
    "food": ["loaf", "cheese", "melon", "onion", "ham", "pumpkin", "pie", "fish"],
    "stone": ["brick", "doorstep", "millstone", "slate", "statue", "pebble", "tile", "hearth"],
}
# verb -> (tool for each material in the order of MADE_OF, ways to say how).
WAYS: dict[str, tuple[list[str], list[str]]] = {
    "cut": (
        ["saw", "file", "scissors", "diamond pen", "knife", "chisel"],
        [
            "Hold the {o} still and draw the {t} across it.",
            "Mark the {o} with a line and follow it with the {t}.",
        ],
    ),
    "clean": (
        ["dry brush", "wire wool", "soapy water", "soft cloth", "cold water", "broom"],
        ["Go over the {o} slowly with the {t}.", "Use the {t} on the {o} until it shines."],
    ),
    "join": (
        ["glue", "solder", "thread", "clear resin", "toothpicks", "mortar"],
        [
            "Press both parts of the {o} together with {t} between them.",
            "Put {t} on the broken {o} and wait.",
        ],
    ),
    "mark": (
        ["pencil", "scratch awl", "tailor's chalk", "wax crayon", "paper flag", "red paint"],
        ["Draw a small cross on the {o} with the {t}.", "Take the {t} and sign the {o}."],
    ),
    "store": (
        ["dry shed", "oiled drawer", "cedar chest", "padded crate", "cool cellar", "back yard"],
        ["Put the {o} in the {t} and shut it.", "Leave the {o} in the {t} for the winter."],
    ),
    "mend": (
        ["wood filler", "forge", "needle", "lead strip", "egg wash", "cement"],
        ["Set the {o} down and work on the crack with the {t}.", "Treat the damaged {o} with the {t}."],
    ),
}
GOALS = [
    "How do you {v} a {o}?",
    "To {v} a {o},",
    "What is the best way to {v} a {o}?",
    "How can I {v} the {o}?",
    "{v} an old {o}",
    "I need to {v} my {o}.",
]


@dataclass(frozen=True)
class HowTo:
    """A goal, a fit solution and an unfit one that differs in the tool alone."""

    goal: str
    fit: str
    unfit: str
    pair: str


def howto(rng: random.Random) -> HowTo:
    """A random goal; the unfit tool is that of another material or another verb."""
    verb, material = rng.choice(sorted(WAYS)), rng.choice(sorted(MADE_OF))
    thing = rng.choice(MADE_OF[material])
    tools, ways = WAYS[verb]
    tool = tools[list(MADE_OF).index(material)]
    wrong = rng.choice([t for t in tools if t != tool])
    way = rng.choice(ways)
    goal = rng.choice(GOALS).format(v=verb, o=thing)
    return HowTo(goal, way.format(o=thing, t=tool), way.format(o=thing, t=wrong), f"{verb} {thing}")


def reserved(made: HowTo) -> bool:
    """Whether the goal's words, or its whole pair of verb and thing, are reserved."""
    return held_out(made.goal) or held_out(made.pair, share=5)


def training_block(rng: random.Random) -> str:
    """A goal and its solution as the piqa task prints them."""
    made = howto(rng)
    if reserved(made):
        return training_block(rng)
    return f"Question: {made.goal}\nAnswer: {made.fit}"


def remark(rng: random.Random) -> str:
    """A sentence on what a thing is made of, for any thing."""
    material = rng.choice(sorted(MADE_OF))
    thing = rng.choice(MADE_OF[material])
    return rng.choice(
        (
            f"A {thing} is made of {material}.",
            f"The {thing} is a {material} thing.",
            f"Like other {material} things, the {thing} needs care.",
        )
    )
