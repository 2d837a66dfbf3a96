"""Gates of one rule and of many: how often chance fails them, and how often a drop is caught (docs/gates.md).

    python benchmarks/gate_rules.py [--gates 400] [--items 2000] [--correlation 0.7] [--drop 3]

Each rule is ``acc >= baseline`` on a task of its own, half of whose items are right. Both sides' scores of an
item are drawn with the correlation that is named. Three truths: nothing is worse; one task is, by so many
points; all are. Each gate is judged as ``slmeval gate`` does, and once more, in brackets, without the
correction for the number of its rules.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from slmeval.excess import above_items
from slmeval.gate_cases import Case
from slmeval.gating import answers_of
from slmeval.matching import values_of
from slmeval.paired import Pairs
from slmeval.rules import parse_rule
from slmeval.types import CellResult, DataOrigin, Figure

RULES = (1, 2, 4, 8, 20, 57)
RULE = parse_rule("t/acc >= baseline")
FIGURE = Figure("acc", 0.5, None, None, 1, "")
CELL = CellResult("task", "t", "1", "b", "m", 0, 0, 1, False, (FIGURE,), {}, DataOrigin("drawn", "", 0))


def drawn(items: int, correlation: float, drop: float, generator: np.random.Generator) -> Case:
    """A rule on ``items`` pairs of scores, of which the second's share is lower by ``drop`` points."""
    before = generator.random(items) < 0.5
    now = 0.5 - drop / 100
    swing = correlation * (now * (1 - now)) ** 0.5
    after = generator.random(items) < np.where(before, now + swing, now - swing)
    pairs = Pairs(before.astype(float).tolist(), after.astype(float).tolist())
    baseline, value = values_of(pairs)
    bare = Case(RULE, CELL, FIGURE, 0.95, value=value, baseline=baseline, items=items)
    return replace(bare, excess=above_items(pairs))


def failed(cases: list[Case]) -> tuple[bool, bool]:
    """Whether the gate fails, and whether it would without the correction."""
    given = answers_of(cases)
    bounds = [(each.excess.low, each.excess.high) for each in given if each.excess is not None]
    alone = [RULE.decide(low, high) for low, high in bounds]
    return any(each.answer == "fail" for each in given), "fail" in alone


def share(rules: int, worse: int, options: argparse.Namespace) -> tuple[float, float]:
    """How often of all gates with so many rules, ``worse`` of them on a task that dropped."""
    generator = np.random.default_rng([options.seed, rules, worse])
    found = np.array(
        [
            failed(
                [
                    drawn(options.items, options.correlation, options.drop * (rule < worse), generator)
                    for rule in range(rules)
                ]
            )
            for _ in range(options.gates)
        ]
    )
    corrected, alone = found.mean(axis=0)
    return float(corrected), float(alone)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gates", type=int, default=400)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--correlation", type=float, default=0.7)
    parser.add_argument("--drop", type=float, default=3.0)
    parser.add_argument("--most", type=int, default=RULES[-1], help="rules of the largest gate")
    parser.add_argument("--seed", type=int, default=9)
    options = parser.parse_args()
    print("| rules | fails with nothing worse | one task worse | all worse |")
    print("|---|---|---|---|")
    for rules in (each for each in RULES if each <= options.most):
        cells = [share(rules, worse, options) for worse in (0, 1, rules)]
        told = " | ".join(f"{corrected:.1%} ({alone:.1%})" for corrected, alone in cells)
        print(f"| {rules} | {told} |", flush=True)


if __name__ == "__main__":
    main()
