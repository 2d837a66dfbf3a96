"""Facts in words: statements, easy questions (one fact), hard questions (two)."""

import random
from dataclasses import dataclass

from world import (
    ANIMALS,
    BY_SIZE,
    ENTITIES,
    FACTS,
    PEOPLE,
    held_out,
    some_name,
    values_of,
)

# relation -> (statements, questions); {n} is the name, {v} the value.
WORDINGS: dict[str, tuple[list[str], list[str]]] = {
    "food": (
        [
            "The {n} eats {v}.",
            "A {n} feeds on {v}.",
            "{v} is what the {n} likes to eat.",
            "The food of the {n} is {v}.",
        ],
        [
            "What does the {n} eat?",
            "What does a {n} feed on?",
            "What is the food of the {n}?",
            "A hungry {n} looks for",
            "Which food does the {n} like?",
        ],
    ),
    "home": (
        [
            "The {n} lives in {v}.",
            "A {n} makes its home in {v}.",
            "You can find the {n} in {v}.",
            "The {n} sleeps in {v}.",
        ],
        [
            "Where does the {n} live?",
            "Where does a {n} make its home?",
            "Where can you find the {n}?",
            "The {n} sleeps in",
            "In what place is a {n} at home?",
        ],
    ),
    "colour": (
        [
            "The {n} is {v}.",
            "A {n} has the colour {v}.",
            "The colour of the {n} is {v}.",
            "Every {n} looks {v}.",
        ],
        [
            "What colour is the {n}?",
            "What is the colour of the {n}?",
            "Which colour does a {n} have?",
            "In daylight every {n} looks",
        ],
    ),
    "skin": (
        ["The {n} is covered with {v}.", "A {n} has {v}.", "The body of the {n} has {v}."],
        [
            "What covers the {n}?",
            "What is the {n} covered with?",
            "What does a {n} have on its body?",
            "The body of a {n} has",
        ],
    ),
    "sound": (
        ["The {n} {v}.", "At night the {n} {v}.", "When it is happy, a {n} {v}."],
        [
            "What sound does the {n} make?",
            "How does a {n} call?",
            "At night the {n}",
            "What does a happy {n} do?",
        ],
    ),
    "enemy": (
        ["The {n} is hunted by {v}.", "The {n} fears {v}.", "The enemy of the {n} is {v}."],
        [
            "What hunts the {n}?",
            "Which enemy does the {n} fear?",
            "What is the enemy of the {n}?",
            "A {n} hides from",
        ],
    ),
    "town": (
        ["{n} lives in {v}.", "The home of {n} is in {v}.", "{n} has a house in {v}."],
        [
            "Where does {n} live?",
            "In which town is the home of {n}?",
            "Where is the house of {n}?",
            "Which town does {n} come from?",
        ],
    ),
    "job": (
        ["{n} works as a {v}.", "{n} is a {v}.", "The work of {n} is that of a {v}."],
        [
            "What is the job of {n}?",
            "What work does {n} do?",
            "{n} earns money as a",
            "What does {n} work as?",
        ],
    ),
    "dish": (
        ["{n} likes to eat {v}.", "The dish that {n} likes best is {v}.", "{n} often cooks {v}."],
        [
            "What does {n} like to eat?",
            "Which dish does {n} like best?",
            "What does {n} often cook?",
            "For dinner {n} would choose",
        ],
    ),
    "tool": (
        ["{n} owns a {v}.", "{n} works with a {v}.", "The tool of {n} is a {v}."],
        [
            "Which tool does {n} own?",
            "What does {n} work with?",
            "What is the tool of {n}?",
            "In the bag of {n} there is a",
        ],
    ),
    "day": (
        ["{n} rests on {v}.", "{n} goes to market on {v}.", "The free day of {n} is {v}."],
        [
            "When does {n} rest?",
            "On which day does {n} go to market?",
            "What is the free day of {n}?",
            "{n} does not work on",
        ],
    ),
    "pet": (
        ["{n} keeps a {v}.", "The pet of {n} is a {v}.", "{n} has a tame {v}."],
        [
            "Which animal does {n} keep?",
            "What is the pet of {n}?",
            "What kind of animal lives with {n}?",
            "{n} has a tame",
        ],
    ),
    "grows": (
        ["{n} grows {v}.", "You find {n} {v}.", "People pick {n} {v}."],
        ["Where does {n} grow?", "Where do you find {n}?", "Where do people pick {n}?", "Look for {n}"],
    ),
    "heals": (
        ["{n} helps against {v}.", "Tea made of {n} heals {v}.", "Doctors give {n} for {v}."],
        [
            "What does {n} help against?",
            "What does tea made of {n} heal?",
            "For what do doctors give {n}?",
            "Which trouble is treated with {n}?",
        ],
    ),
    "month": (
        ["{n} flowers in {v}.", "The flowers of {n} open in {v}.", "{n} is in bloom in {v}."],
        [
            "When does {n} flower?",
            "In which month is {n} in bloom?",
            "When do the flowers of {n} open?",
            "The best month to see {n} in flower is",
        ],
    ),
    "heated": (
        ["When heated, {n} {v}.", "In a fire {n} {v}.", "If {n} gets hot, it {v}."],
        [
            "What happens when {n} is heated?",
            "What does {n} do in a fire?",
            "If {n} gets hot, it",
            "What happens to hot {n}?",
        ],
    ),
    "wetted": (
        ["In water {n} {v}.", "When wet, {n} {v}.", "If {n} gets wet, it {v}."],
        [
            "What happens when {n} gets wet?",
            "What does {n} do in water?",
            "If {n} falls in a lake, it",
            "What happens to wet {n}?",
        ],
    ),
    "made_into": (
        ["{n} is made into {v}.", "People make {v} from {n}.", "{n} is good for {v}."],
        [
            "What do people make from {n}?",
            "What is {n} made into?",
            "What is {n} good for?",
            "A maker of things uses {n} for",
        ],
    ),
}
TWO_HOP: dict[str, list[str]] = {
    "food": [
        "What does the pet of {n} eat?",
        "Which food should {n} give to the pet?",
        "What does the animal that {n} keeps feed on?",
        "The animal of {n} likes to eat",
    ],
    "colour": [
        "What colour is the pet of {n}?",
        "Which colour has the animal that {n} keeps?",
        "What is the colour of the pet of {n}?",
        "The tame animal of {n} looks",
    ],
    "skin": [
        "What covers the pet of {n}?",
        "What does the pet of {n} have on its body?",
        "The animal that {n} keeps is covered with",
        "What is the pet of {n} covered with?",
    ],
    "enemy": [
        "What hunts the pet of {n}?",
        "Which enemy does the pet of {n} fear?",
        "The animal that {n} keeps hides from",
        "What is the enemy of the pet of {n}?",
    ],
    "home": [
        "Where does the pet of {n} live in the wild?",
        "The pet of {n} was found in",
        "Where does {n} look for a lost pet?",
        "What is the natural home of the pet of {n}?",
    ],
    "sound": [
        "What sound does the pet of {n} make?",
        "At night the pet of {n}",
        "What does {n} hear the pet do?",
        "The animal that {n} keeps often",
    ],
}
LARGER = [
    "Which animal is larger than the {n}?",
    "Which of these animals is bigger than a {n}?",
    "An animal of greater size than the {n} is the",
]
SMALLER = [
    "Which animal is smaller than the {n}?",
    "Which of these animals is not as big as a {n}?",
    "An animal of lesser size than the {n} is the",
]
NOT_SO = [
    "Which of these does the {n} not eat?",
    "Which food is of no use to a {n}?",
    "Which of these foods is not for the {n}?",
]
SAME = {
    "food": ["Which animal eats the same food as the {n}?", "Which animal shares the food of the {n}?"],
    "home": ["Which animal lives in the same place as the {n}?", "Which animal shares the home of the {n}?"],
}


EASY_SHARE, HARD_SHARE = 10, 5  # one question in so many is reserved for the bundled rows


@dataclass(frozen=True)
class Question:
    """A question, its right answer, and the wrong answers that suit the same place."""

    text: str
    answer: str
    wrong: tuple[str, ...]
    share: int = HARD_SHARE

    @property
    def reserved(self) -> bool:
        """Whether only the bundled rows may ask this."""
        return held_out(self.text, self.share)


def sentence(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def statement(rng: random.Random, name: str, relation: str) -> str:
    """One wording of one fact."""
    wording = rng.choice(WORDINGS[relation][0])
    return sentence(wording.format(n=name, v=FACTS[name, relation]))


def relations_of(name: str) -> list[str]:
    """The relations in which `name` stands."""
    return [relation for who, relation in FACTS if who == name]


def any_name(rng: random.Random) -> str:
    """A name of any kind, animals and people most often."""
    return some_name(rng, rng.choices(list(ENTITIES), weights=(5, 4, 2, 2))[0])


def easy(rng: random.Random) -> Question:
    """A question about one fact."""
    name = any_name(rng)
    relation = rng.choice(relations_of(name))
    answer = FACTS[name, relation]
    text = sentence(rng.choice(WORDINGS[relation][1]).format(n=name))
    wrong = tuple(v for v in values_of(name, relation) if v != answer)
    return Question(text, answer, wrong, EASY_SHARE)


def two_hop(rng: random.Random) -> Question:
    """A question about the pet of somebody: two facts to join."""
    name, relation = rng.choice(PEOPLE), rng.choice(list(TWO_HOP))
    pet = FACTS[name, "pet"]
    answer = FACTS[pet, relation]
    text = sentence(rng.choice(TWO_HOP[relation]).format(n=name))
    return Question(text, answer, tuple(v for v in values_of(pet, relation) if v != answer))


def by_size(rng: random.Random) -> Question:
    """A question that compares two animals by size."""
    rank = rng.randrange(4, len(BY_SIZE) - 4)
    smaller, larger = BY_SIZE[:rank], BY_SIZE[rank + 1 :]
    wording, right, wrong = rng.choice(((LARGER, larger, smaller), (SMALLER, smaller, larger)))
    text = rng.choice(wording).format(n=BY_SIZE[rank])
    return Question(text, rng.choice(right), tuple(wrong))


def negated(rng: random.Random) -> Question:
    """A question for what is *not* so: only one wrong answer exists for it."""
    name = some_name(rng, "animal")
    answer = FACTS[name, "food"]
    others = [v for v in values_of(name, "food") if v != answer]
    return Question(rng.choice(NOT_SO).format(n=name), rng.choice(others), (answer,))


def shared(rng: random.Random) -> Question:
    """A question for another animal with the same food or home."""
    relation = rng.choice(list(SAME))
    name = rng.choice(ANIMALS)
    alike = [a for a in ANIMALS if a != name and FACTS[a, relation] == FACTS[name, relation]]
    if not alike:
        return shared(rng)
    wrong = tuple(a for a in ANIMALS if a != name and a not in alike)
    return Question(rng.choice(SAME[relation]).format(n=name), rng.choice(alike), wrong)


def hard(rng: random.Random) -> Question:
    """A question that needs more than one fact."""
    kinds = (two_hop, by_size, shared, negated)
    return rng.choices(kinds, weights=(6, 4, 3, 1))[0](rng)


def block(question: Question) -> str:
    """The question as the arc tasks print it, answered."""
    return f"Question: {question.text}\nAnswer: {question.answer}"


def training_block(rng: random.Random) -> str:
    """An answered question that is not reserved for the bundled rows."""
    question = (hard if rng.random() < 0.35 else easy)(rng)
    return training_block(rng) if question.reserved else block(question)


def page(rng: random.Random) -> str:
    """A few sentences about one or two things of the world."""
    names = [any_name(rng) for _ in range(rng.randint(1, 3))]
    return " ".join(
        statement(rng, name, relation) for name in names for relation in some_relations(rng, name)
    )


def some_relations(rng: random.Random, name: str) -> list[str]:
    """Some of the relations of `name`, in any order."""
    relations = relations_of(name)
    return rng.sample(relations, rng.randint(1, len(relations)))


def sizes(rng: random.Random) -> str:
    """A few sentences that compare animals by size."""
    pairs = [sorted(rng.sample(range(len(BY_SIZE)), 2)) for _ in range(rng.randint(2, 6))]
    told = [
        rng.choice(
            (
                f"The {BY_SIZE[b]} is larger than the {BY_SIZE[a]}.",
                f"The {BY_SIZE[a]} is smaller than the {BY_SIZE[b]}.",
            )
        )
        for a, b in pairs
    ]
    return " ".join(told)
