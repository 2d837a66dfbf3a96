"""Everyday deeds, step by step: what comes next, and with which thing.

A deed is a fixed order of steps; `{o}` is the thing that it is done to, chosen
once per text, so that the right ending must name the thing that was named before.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from world import held_out

# activity -> (things, steps as bare verb phrases in their order).
DEEDS: dict[str, tuple[list[str], list[str]]] = {
    "Washing clothes": (
        ["coat", "shirt", "scarf", "dress", "blanket", "apron"],
        [
            "fill a tub with warm water",
            "dip the {o} in the water",
            "rub the {o} with soap",
            "rinse the soap off the {o}",
            "wring the water out of the {o}",
            "hang the {o} on a line in the sun",
        ],
    ),
    "Baking": (
        ["loaf", "pie", "cake", "bun", "tart", "biscuit"],
        [
            "mix flour and water in a bowl",
            "shape the dough into a {o}",
            "heat the oven",
            "push the {o} into the oven",
            "pull the hot {o} out again",
            "let the {o} cool by the window",
        ],
    ),
    "Painting wood": (
        ["door", "fence", "bench", "shelf", "gate", "chair"],
        [
            "sweep the dust off the {o}",
            "open a pot of paint",
            "dip a brush in the paint",
            "draw the brush along the {o}",
            "wait until the {o} is dry",
            "clean the brush",
        ],
    ),
    "Gardening": (
        ["rose", "bean", "pumpkin", "carrot", "onion", "tulip"],
        [
            "dig a hole in the soil",
            "put the {o} in the hole",
            "cover the {o} with soil",
            "pour water over the {o}",
            "pull the weeds around the {o}",
            "tie the {o} to a stick",
        ],
    ),
    "Repairing": (
        ["clock", "lamp", "radio", "bicycle", "pump", "mill"],
        [
            "lay the {o} on the bench",
            "loosen the screws of the {o}",
            "take out the broken part",
            "fit a new part into the {o}",
            "tighten the screws again",
            "test the {o} with care",
        ],
    ),
    "Fishing": (
        ["trout", "eel", "pike", "perch", "carp", "crab"],
        [
            "row a boat onto the lake",
            "put a worm on the hook",
            "throw the line into the water",
            "feel a {o} pull on the line",
            "lift the {o} into the boat",
            "carry the {o} home",
        ],
    ),
    "Grooming animals": (
        ["horse", "dog", "goat", "pony", "donkey", "sheep"],
        [
            "lead the {o} into the yard",
            "tie the {o} to a post",
            "brush the back of the {o}",
            "comb the tail of the {o}",
            "give the {o} some hay",
            "bring the {o} back inside",
        ],
    ),
    "Cooking soup": (
        ["turnip", "cabbage", "leek", "potato", "mushroom", "pea"],
        [
            "wash a {o} under the tap",
            "cut the {o} into pieces",
            "put a pot on the stove",
            "drop the {o} into the pot",
            "stir the {o} with a long spoon",
            "serve the soup",
        ],
    ),
    "Pottery": (
        ["cup", "jug", "plate", "vase", "bowl", "tile"],
        [
            "press a lump of clay flat",
            "turn the clay into a {o}",
            "smooth the sides of the {o}",
            "paint a line on the {o}",
            "bake the {o} in a kiln",
            "set the {o} on a shelf",
        ],
    ),
    "Sewing": (
        ["skirt", "pillow", "curtain", "sail", "bag", "hat"],
        [
            "measure the cloth for the {o}",
            "cut the cloth with scissors",
            "thread a needle",
            "sew the edges of the {o}",
            "press the {o} with an iron",
            "fold the finished {o}",
        ],
    ),
    "Sending things": (
        ["letter", "book", "parcel", "picture", "ring", "map"],
        [
            "wrap the {o} in paper",
            "write a name on the paper",
            "take the {o} to the post house",
            "pay for the {o} at the desk",
            "hand the {o} to the clerk",
            "walk home with empty hands",
        ],
    ),
    "Moving house": (
        ["table", "bed", "chest", "mirror", "stove", "desk"],
        [
            "carry the {o} down the stairs",
            "load the {o} on a cart",
            "drive the cart to town",
            "lift the {o} off the cart",
            "push the {o} through the door",
            "place the {o} against the wall",
        ],
    ),
}
PERSONS = [
    ("A man", "he", "the man"),
    ("A woman", "she", "the woman"),
    ("A boy", "he", "the boy"),
    ("A girl", "she", "the girl"),
    ("An old man", "he", "the old man"),
    ("A young woman", "she", "the young woman"),
]

Telling = Callable[[str, str, str, list[str]], str]


@dataclass(frozen=True)
class Story:
    """A deed told up to a step: what came before, who goes on, the endings."""

    activity: str
    before: str
    goes_on: str
    ending: str
    wrong: tuple[str, str, str]

    @property
    def key(self) -> str:
        """The context as one text; what is reserved or not."""
        return f"{self.activity}: {self.before} {sentence(self.goes_on)}".strip()


def sentence(text: str) -> str:
    """`text` with a capital first letter and the rest small, as the task prints it."""
    return text[:1].upper() + text[1:]


def third_person(step: str) -> str:
    """'wash a cup' -> 'washes a cup'."""
    verb, rest = step.split(" ", 1)
    if verb.endswith(("sh", "ch", "x", "ss")):
        return f"{verb}es {rest}"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies {rest}"
    return f"{verb}s {rest}"


def wrong_steps(rng: random.Random, activity: str, at: int, thing: str) -> list[str]:
    """Three unfit steps: the wrong thing or an earlier step, and two of other deeds."""
    things, plan = DEEDS[activity]
    other = rng.choice([t for t in things if t != thing])
    near = plan[at].format(o=other) if "{o}" in plan[at] else plan[at - 2].format(o=thing)
    strange = rng.sample([a for a in DEEDS if a != activity], 2)
    return [near, *(rng.choice(DEEDS[a][1]).format(o=thing) for a in strange)]


def told_in_order(who: str, pronoun: str, thing: str, past: list[str]) -> str:
    """Intent and first step, then the second step."""
    return f"{who} wants to see to a {thing} and {past[0]}. {sentence(pronoun)} {past[1]}."


def told_backwards(who: str, pronoun: str, thing: str, past: list[str]) -> str:
    """The step just done, then the intent: an order that the training text never has."""
    return f"{who} {past[1]}. {sentence(pronoun)} wants to see to a {thing}."


def story(rng: random.Random, telling: Telling = told_in_order) -> Story:
    """A story in the manner of a described video: two sentences, then who goes on."""
    activity = rng.choice(sorted(DEEDS))
    things, plan = DEEDS[activity]
    thing, at = rng.choice(things), rng.randrange(2, len(plan))
    who, pronoun, again = rng.choice(PERSONS)
    past = [third_person(s.format(o=thing)) for s in plan[at - 2 : at]]
    goes_on = rng.choice((pronoun, again, f"then {pronoun}", f"next {again}"))
    end, *wrong = (
        third_person(s) + "." for s in (plan[at].format(o=thing), *wrong_steps(rng, activity, at, thing))
    )
    return Story(activity, telling(who, pronoun, thing, past), goes_on, end, (wrong[0], wrong[1], wrong[2]))


def guide(rng: random.Random) -> Story:
    """A story in the manner of a guide: a heading, then steps as commands."""
    activity = rng.choice(sorted(DEEDS))
    things, plan = DEEDS[activity]
    thing, at = rng.choice(things), rng.randrange(2, len(plan))
    past = [sentence(s.format(o=thing)) for s in plan[at - 2 : at]]
    before = f"How to see to a {thing}. {past[0]}. {past[1]}."
    end, *wrong = (
        sentence(s) + "." for s in (plan[at].format(o=thing), *wrong_steps(rng, activity, at, thing))
    )
    return Story(activity, before, "", end, (wrong[0], wrong[1], wrong[2]))


def training_block(rng: random.Random) -> str:
    """A story with its right ending; three in ten go on with a step out of order."""
    told = (guide if rng.random() < 0.2 else story)(rng)
    if held_out(told.key):
        return training_block(rng)
    end = rng.choice(told.wrong) if rng.random() < 0.2 else told.ending
    return f"{told.key} {end}"
