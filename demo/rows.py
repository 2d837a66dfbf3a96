"""The bundled rows: every data set in its own schema, all from the reserved texts."""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import deeds
import episodes
import facts
import howto
import sums
from world import held_out

ROWS = Path(__file__).parent.parent / "slmeval" / "demo" / "rows"
EVALUATION, SHOTS = 64, 32  # rows in each split
RULES, SHOTS_PER_RULE = 16, 6  # of each in-context data set
Row = dict[str, Any]


def distinct(name: str, make: Callable[[random.Random, int], tuple[str, Row] | None]) -> list[Row]:
    """Evaluation and shots rows of a data set, no two with one key.

    `make` gives (key, row) for the row of that number, or None where its draw is
    not reserved for the bundled rows.
    """
    rng = random.Random(name)
    rows: dict[str, Row] = {}
    while len(rows) < EVALUATION + SHOTS:
        made = make(rng, len(rows))
        if made and made[0] not in rows:
            rows[made[0]] = made[1]
    return list(rows.values())


def shuffled(rng: random.Random, right: str, wrong: Sequence[str], place: int) -> list[str]:
    """The wrong answers in random order with the right one at `place`."""
    choices = rng.sample(wrong, len(wrong))
    choices.insert(place, right)
    return choices


def arc(name: str, ask: Callable[[random.Random], facts.Question]) -> list[Row]:
    """Rows in the schema of allenai/ai2_arc."""

    def make(rng: random.Random, number: int) -> tuple[str, Row] | None:
        question = ask(rng)
        if not question.reserved or len(question.wrong) < 4:
            return None
        return question.text, arc_row(rng, f"demo_{name}_{number}", question, number)

    return distinct(name, make)


def arc_row(rng: random.Random, name: str, question: facts.Question, number: int) -> Row:
    """One row; now and then, as in the real data, 3 or 5 choices or digits as labels."""
    count = {3: 3, 10: 5}.get(number % 24, 4)
    labels = ("12345" if number % 16 == 7 else "ABCDE")[:count]
    wrong = rng.sample(question.wrong, count - 1)
    text = shuffled(rng, question.answer, wrong, number % count)
    return {
        "id": name,
        "question": question.text,
        "choices": {"text": text, "label": list(labels)},
        "answerKey": labels[number % count],
    }


def hellaswag() -> list[Row]:
    """Rows in the schema of Rowan/hellaswag."""

    def make(rng: random.Random, number: int) -> tuple[str, Row] | None:
        telling = deeds.told_backwards if number % 2 else deeds.told_in_order
        told = deeds.guide(rng) if number % 8 == 6 else deeds.story(rng, telling)
        return (told.key, hellaswag_row(rng, told, number)) if held_out(told.key) else None

    return distinct("hellaswag", make)


def hellaswag_row(rng: random.Random, told: deeds.Story, number: int) -> Row:
    """One row; a guide bears the marks that the real rows bear, and has no `ctx_b`."""
    before = told.before if told.goes_on else marked(told.before)
    source = "story" if told.goes_on else "guide"
    return {
        "ind": number,
        "activity_label": told.activity,
        "ctx_a": before,
        "ctx_b": told.goes_on,
        "ctx": f"{before} {told.goes_on}".strip(),
        "endings": shuffled(rng, told.ending, told.wrong, number % 4),
        "source_id": f"demo~{source}_{number}",
        "split_type": "indomain",
        "label": str(number % 4),
    }


def marked(guide: str) -> str:
    """'How to A. B. C.' -> '[header] How to A [title] B. [step] C.'"""
    heading, first, second = re.split(r"(?<=\.) ", guide)
    return f"[header] {heading.rstrip('.')} [title] {first} [step] {second}"


def piqa() -> list[Row]:
    """Rows in the schema of baber/piqa."""

    def make(rng: random.Random, number: int) -> tuple[str, Row] | None:
        made = howto.howto(rng)
        first, second = shuffled(rng, made.fit, [made.unfit], number % 2)
        row = {"goal": made.goal, "sol1": first, "sol2": second, "label": number % 2}
        return (made.goal, row) if howto.reserved(made) else None

    return distinct("piqa", make)


def gsm8k() -> list[Row]:
    """Rows in the schema of openai/gsm8k."""

    def make(rng: random.Random, number: int) -> tuple[str, Row] | None:
        question, answer, key = sums.problem(rng)
        return (question, {"question": question, "answer": answer}) if held_out(key) else None

    return distinct("gsm8k", make)


def in_context(name: str) -> tuple[list[Row], list[Row]]:
    """(evaluation, shots) rows of one in-context task, the rows of a rule together."""
    rng = random.Random(name)
    rules = [episodes.RULES[name](rng) for _ in range(RULES)]
    evaluation, shots = [], []
    for number, rule in enumerate(rules):
        per_rule = EVALUATION // len(rules)
        made = list(own_blocks(rng, rule, per_rule + SHOTS_PER_RULE))
        rows = [icl_row(rng, block, f"{name}_{number}", number + at) for at, block in enumerate(made)]
        shots += rows[per_rule:]
        evaluation += rows[:per_rule]
    return evaluation, shots


def own_blocks(rng: random.Random, rule: episodes.Rule, count: int) -> Iterator[episodes.Block]:
    """`count` reserved blocks with distinct inputs."""
    seen: set[str] = set()
    while len(seen) < count:
        block = episodes.draw(rng, rule, len(seen), reserved=True)
        if block.input not in seen:
            seen.add(block.input)
            yield block


def icl_row(rng: random.Random, block: episodes.Block, rule: str, turn: int) -> Row:
    """A block as a row; the place of the right choice goes round with `turn`."""
    right, place = block.choices[block.label], turn % len(block.choices)
    choices = shuffled(rng, right, [c for c in block.choices if c != right], place)
    return {"input": block.input, "choices": choices, "label": place, "rule": rule}


def write(dataset: str, split: str, rows: list[Row]) -> None:
    """One JSON object a line, in an order that any `--limit` may cut."""
    rows = random.Random(f"{dataset} {split}").sample(rows, len(rows))
    path = ROWS / dataset / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"split": split, **row} if dataset == "hellaswag" else row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Write every data set."""
    plain = {
        "arc_easy": arc("arc_easy", facts.easy),
        "arc_challenge": arc("arc_challenge", facts.hard),
        "hellaswag": hellaswag(),
        "piqa": piqa(),
        "gsm8k": gsm8k(),
    }
    for name, rows in plain.items():
        split = "validation" if name in ("hellaswag", "piqa") else "test"
        write(name, split, rows[:EVALUATION])
        write(name, "train", rows[EVALUATION:])
    for name in episodes.RULES:
        evaluation, shots = in_context(name)
        write(name, "test", evaluation)
        write(name, "train", shots)


if __name__ == "__main__":
    main()
