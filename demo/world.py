"""The invented small world: who and what exists in it, and every fact about them.

Nothing here is true elsewhere. All choices are drawn once from a fixed seed, so
that the world is the same wherever this file is imported.
"""

import hashlib
import random

ANIMALS = (
    "dorrin welk hask tibble morrow grint sallow pindle quorl bremmet lusk varn "
    "ottle fennick jarl crobe noddle skarrow mip drell hobbin tarsk wimble grole "
    "zett purrel ankle-hen bogger sninch ralliver klee dusken"
).split()
PEOPLE = (
    "Mira Tobin Alda Jorun Petra Oskar Lena Rufus Nadia Emil Hanna Viktor "
    "Selma Bruno Ivy Caspar Dora Felix Greta Hugo Ines Jonas Katya Lars"
).split()
PLANTS = (
    "silverleaf brackfern moonwort tallgrain bitterroot redthorn glasspetal "
    "windbell mudlily stoneberry candlereed sweetgall"
).split()
MATERIALS = (
    "glimstone ashclay blueglass irresin saltwood coldtin emberwax quickchalk "
    "driftiron papersilk nightcoal sunamber"
).split()
FEMALE = frozenset("Mira Alda Petra Lena Nadia Hanna Selma Ivy Dora Greta Ines Katya".split())

# Relation -> possible values. Lengths are mixed on purpose: an answer must not
# be recognisable by its length.
VALUES: dict[str, dict[str, list[str]]] = {
    "animal": {
        "food": [
            "river moss",
            "dry bark",
            "beetles",
            "honey",
            "pond snails",
            "wild seeds",
            "fallen pears",
            "small fish",
            "clover",
            "ants",
            "mushrooms",
            "tree sap",
        ],
        "home": [
            "hollow logs",
            "deep caves",
            "reed beds",
            "old barns",
            "tall pines",
            "sand dunes",
            "stone walls",
            "salt marshes",
            "hedges",
            "ice cliffs",
        ],
        "colour": ["grey", "dark green", "orange", "white", "black", "pale blue", "brown", "yellow"],
        "skin": ["soft fur", "hard scales", "long feathers", "thick wool", "smooth skin", "sharp spines"],
        "sound": ["whistles", "hums", "barks", "clicks", "croaks", "sings", "hisses", "drums"],
        "enemy": [
            "the marsh owl",
            "the snow fox",
            "the lake eel",
            "the red hawk",
            "the rock viper",
            "the grey wolf",
            "the tree cat",
            "the wasp",
        ],
    },
    "person": {
        "town": [
            "Harbel",
            "Stonewick",
            "Lower Finn",
            "Marrowby",
            "Eastmere",
            "Tull",
            "Ravenhill",
            "Ostley",
            "Pell Bay",
            "Crane Ford",
        ],
        "job": [
            "baker",
            "carpenter",
            "fisher",
            "teacher",
            "potter",
            "weaver",
            "smith",
            "farmer",
            "doctor",
            "miller",
            "painter",
            "sailor",
        ],
        "dish": [
            "onion soup",
            "plum cake",
            "fried trout",
            "barley bread",
            "goat cheese",
            "bean stew",
            "apple pie",
            "cold ham",
            "roast duck",
            "oat porridge",
        ],
        "tool": [
            "hammer",
            "needle",
            "oar",
            "brush",
            "spade",
            "saw",
            "kettle",
            "lamp",
            "rope",
            "ladder",
            "basket",
            "knife",
        ],
        "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    },
    "plant": {
        "grows": [
            "on wet rocks",
            "beside roads",
            "under oak trees",
            "in cold lakes",
            "on roofs",
            "in sandy soil",
            "along fences",
            "near warm springs",
        ],
        "heals": ["fever", "sore feet", "headaches", "burns", "coughs", "bad dreams", "stings", "toothache"],
        "month": ["March", "April", "May", "June", "July", "August", "September", "October"],
    },
    "material": {
        "heated": [
            "melts",
            "turns red",
            "cracks",
            "gives off smoke",
            "becomes soft",
            "glows",
            "shrinks",
            "rings like a bell",
        ],
        "wetted": [
            "sinks",
            "floats",
            "dissolves",
            "swells up",
            "turns to mud",
            "stays dry",
            "fizzes",
            "grows slippery",
        ],
        "made_into": [
            "cups",
            "door handles",
            "boats",
            "window panes",
            "buttons",
            "candles",
            "roof tiles",
            "spoons",
        ],
    },
}
ENTITIES: dict[str, list[str]] = {
    "animal": ANIMALS,
    "person": PEOPLE,
    "plant": PLANTS,
    "material": MATERIALS,
}


def held_out(text: str, share: int = 16) -> bool:
    """Whether `text` is reserved for the bundled rows (1 text in `share`).

    The training text never contains a reserved question, and the bundled rows
    contain no other: the two cannot overlap.
    """
    return hashlib.sha256(text.encode()).digest()[0] % share == 0


def build_facts(seed: int = 7) -> dict[tuple[str, str], str]:
    """(entity, relation) -> value, for every entity of the world."""
    rng = random.Random(seed)
    facts = {
        (name, relation): rng.choice(values)
        for kind, names in ENTITIES.items()
        for name in names
        for relation, values in VALUES[kind].items()
    }
    pets = rng.sample(ANIMALS, len(PEOPLE))
    return facts | {(who, "pet"): pet for who, pet in zip(PEOPLE, pets, strict=True)}


FACTS = build_facts()
KIND = {name: kind for kind, names in ENTITIES.items() for name in names}
# Larger animals come later: the order in which "larger" questions are answered.
BY_SIZE = random.Random(11).sample(ANIMALS, len(ANIMALS))


def values_of(name: str, relation: str) -> list[str]:
    """All values that `relation` may take for things like `name`."""
    return ANIMALS if relation == "pet" else VALUES[KIND[name]][relation]


def some_name(rng: random.Random, kind: str) -> str:
    """A name of that kind; early names are several times as frequent as late ones."""
    names = ENTITIES[kind]
    return names[min(int(len(names) * rng.random() ** 1.6), len(names) - 1)]
