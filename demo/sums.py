"""Word problems with small numbers, answered step by step as gsm8k answers them."""

import random
from collections.abc import Callable

from world import FEMALE, PEOPLE, held_out

THINGS = ("apples nails buttons candles spoons pears boats eggs coins shells ropes cups").split()
Numbers = tuple[int, ...]
# kind -> wordings; {n} and {m} are people, {P} stands for {n}, {t} are things.
STORIES: dict[str, list[str]] = {
    "add": [
        "{n} has {a} {t}. {P} finds {b} more {t}. How many {t} does {n} have now?",
        "{n} buys {a} {t} on Monday and {b} {t} on Friday. How many {t} does {n} buy in total?",
        "There are {a} {t} on the table and {b} {t} in the box of {n}. How many {t} are there?",
    ],
    "sub": [
        "{n} has {a} {t}. {P} gives {b} {t} to {m}. How many {t} does {n} have left?",
        "{n} had {a} {t} and lost {b} of them. How many {t} are left?",
        "{m} sees {a} {t} in a shop. {n} buys {b} of them. How many {t} are left in the shop?",
    ],
    "mul": [
        "{n} has {a} baskets with {b} {t} in each. How many {t} does {n} have?",
        "{n} makes {b} {t} every day. How many {t} does {n} make in {a} days?",
    ],
    "add-sub": [
        "{n} has {a} {t}. {P} finds {b} {t} and then gives {c} {t} to {m}. How many {t} does {n} have left?",
        "{n} makes {a} {t} and {m} makes {b} {t}. They sell {c} of them. How many {t} are left?",
    ],
    "mul-add": [
        "{n} buys {a} boxes with {b} {t} in each. {m} gives {n} {c} more {t}. How many {t} does {n} have?",
        "{n} makes {b} {t} a day for {a} days and already had {c} {t}. How many {t} does {n} have now?",
    ],
    "mul-sub": [
        "{n} fills {a} baskets with {b} {t} each. {P} sells {c} {t}. How many {t} does {n} have left?"
    ],
}


def numbers(rng: random.Random, kind: str) -> Numbers:
    """The numbers of a problem; no result is negative or above 40."""
    first = kind.split("-", maxsplit=1)[0]
    if first == "mul":
        a, b = rng.randint(2, 5), rng.randint(2, 6)
    else:
        a, b = rng.randint(2, 15), rng.randint(2, 15)
    if kind == "sub":
        return max(a, b) + 1, min(a, b)
    total = a * b if first == "mul" else a + b
    return a, b, rng.randint(2, min(total - 1, 10))


def steps(kind: str, values: Numbers) -> list[tuple[int, str, int, int]]:
    """The sums of a problem, in order: (left, sign, right, result)."""
    sign: dict[str, tuple[str, Callable[[int, int], int]]] = {
        "add": ("+", int.__add__),
        "sub": ("-", int.__sub__),
        "mul": ("*", int.__mul__),
    }
    done: list[tuple[int, str, int, int]] = []
    left = values[0]
    for part, right in zip(kind.split("-"), values[1:], strict=False):
        mark, work = sign[part]
        done.append((left, mark, right, work(left, right)))
        left = done[-1][3]
    return done


def problem(rng: random.Random) -> tuple[str, str, str]:
    """(question, answer, key); the key names the kind and the numbers alone."""
    kind = rng.choice(list(STORIES))
    values = numbers(rng, kind)
    n, m = rng.sample(PEOPLE, 2)
    thing = rng.choice(THINGS)
    a, b, c = (*values, 0)[:3]
    question = rng.choice(STORIES[kind]).format(
        n=n, m=m, t=thing, a=a, b=b, c=c, P="She" if n in FEMALE else "He"
    )
    return question, answer(kind, values, thing), f"{kind} {values[: len(steps(kind, values)) + 1]}"


def answer(kind: str, values: Numbers, thing: str) -> str:
    """The worked answer, one line a step, then `#### result`."""
    done = steps(kind, values)
    lines = [f"{x} {mark} {y} = <<{x}{mark}{y}={z}>>{z} {thing}." for x, mark, y, z in done]
    return "\n".join([*lines, f"#### {done[-1][3]}"])


def training_block(rng: random.Random) -> str:
    """A worked problem whose numbers are not reserved for the bundled rows."""
    question, worked, key = problem(rng)
    if held_out(key):
        return training_block(rng)
    return f"Question: {question}\nAnswer: {worked}"
