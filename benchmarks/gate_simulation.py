"""What the intervals of a comparison are worth: how often they cover, and how often a gate fails.

    python benchmarks/gate_simulation.py [--part pairs] [--trials 1000] [--write]

Two sides' scores of the same items are drawn with a given accuracy, correlation and true difference, and go
through the functions that ``slmeval compare`` and ``gate`` use. "Fails" is the gate's answer to
``acc >= baseline``: the whole 95% interval lies below 0. Nothing is timed; all draws have fixed seeds. With
``--write`` what was found is kept, and its tables stand in docs/statistics.md. All parts take minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairs import MEASURED, table, write_table

from slmeval.paired import Pairs, contrast, one_sample
from slmeval.sequences import always_valid, look_levels, narrow_enough
from slmeval.statistics import Z95

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
FILE = MEASURED / "gate-simulation.json"
ACCURACIES = (0.25, 0.5, 0.75, 0.9)
CORRELATIONS = (0.0, 0.5, 0.7, 0.9)
#: with fewer items that differ, so many are expected, counts are too coarse for an interval of just 95%
FEW = 8

Draws = NDArray[np.float64]
Interval = tuple[float, float]


# ---- what is drawn -----------------------------------------------------------------------------------


def cells(accuracy: float, correlation: float, drop: float = 0.0) -> Draws | None:
    """Shares of items that both, the second alone, the first alone and neither side have right.

    ``None`` where no two sides of these accuracies are so alike.
    """
    first, second = accuracy, accuracy - drop
    both = first * second + correlation * math.sqrt(first * (1 - first) * second * (1 - second))
    shares = np.array([both, second - both, first - both, 1 - first - second + both])
    return shares if shares.min() >= -1e-12 else None


def scores(which: Draws) -> tuple[Draws, Draws]:
    """Both sides' scores of items in those four cells."""
    return ((which == 0) | (which == 2)).astype(float), (which <= 1).astype(float)


@lru_cache(maxsize=400_000)
def of_counts(gained: int, lost: int, n: int, level: float = 0.95) -> Interval:
    """The interval where so many of ``n`` items differ."""
    second = np.zeros(n)
    second[:gained] = 1
    first = np.zeros(n)
    first[gained : gained + lost] = 1
    found = contrast(Pairs(first, second), level=level)
    return found.low, found.high


def clustered(
    random: np.random.Generator, n: int, size: int, shares: Draws, alike: float, uneven: bool
) -> Any:
    """Cells of ``n`` items and their clusters: each cluster has shares of its own, Dirichlet distributed.

    ``alike`` is the correlation of two items of a cluster; uneven sizes are geometric, 1 and more.
    """
    sizes = np.full(n // size, size)
    if uneven:
        sizes = random.geometric(1 / size, 2 * n // size + 20)
        sizes = sizes[: np.searchsorted(np.cumsum(sizes), n) + 1]
        sizes[-1] -= sizes.sum() - n
    own = random.dirichlet(np.maximum(shares, 1e-9) * (1 / alike - 1), len(sizes))
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    which = (random.random(n)[:, None] > np.cumsum(own, axis=1)[clusters, :3]).sum(axis=1)
    return which, clusters


@dataclass
class Found:
    """How often, in percent, an interval covered the truth, and lay below and above it, in so many trials."""

    covered: float
    below: float
    above: float
    trials: int


def percent(values: Sequence[bool] | NDArray[np.bool_]) -> float:
    """How many are true."""
    return round(100 * float(np.mean(values)), 1)


def held(intervals: Sequence[Interval], truth: float) -> Found:
    """How often they cover the ``truth``, and lie below and above it."""
    ends = np.array(intervals)
    below, above = ends[:, 1] < truth - 1e-12, ends[:, 0] > truth + 1e-12
    return Found(percent(~below & ~above), percent(below), percent(above), len(ends))


# ---- the parts: rows of what was found ---------------------------------------------------------------


def exchangeable(trials: int) -> Iterator[dict[str, Any]]:
    """Items drawn one by one, no true difference, and one of 3 points."""
    random = np.random.default_rng(1)
    for n, correlation, accuracy, drop in product(
        (50, 200, 1000, 5000), CORRELATIONS, ACCURACIES, (0.0, 0.03)
    ):
        shares = cells(accuracy, correlation, drop)
        if shares is None:
            continue
        drawn = random.multinomial(n, shares, trials * {50: 4, 200: 4, 1000: 2}.get(n, 1))
        found = held([of_counts(int(gained), int(lost), n) for _, gained, lost, _ in drawn], -drop)
        differ = n * float(shares[1] + shares[2])
        yield dict(n=n, correlation=correlation, accuracy=accuracy, drop=drop, differ=differ, **asdict(found))


def in_clusters(trials: int) -> Iterator[dict[str, Any]]:
    """Items that share a passage, no true difference."""
    random = np.random.default_rng(2)
    shapes = ((50, 5), (200, 5), (200, 20), (1000, 5), (1000, 50), (5000, 50))
    for (n, size), uneven, correlation, accuracy, alike in product(
        shapes, (False, True), (0.0, 0.7), (0.25, 0.9), (0.2,)
    ):
        shares = cells(accuracy, correlation)
        assert shares is not None
        with_clusters, without = [], []
        for _ in range(trials if n < 1000 else trials // 2):
            which, clusters = clustered(random, n, size, shares, alike, uneven)
            first, second = scores(which)
            found = contrast(Pairs(first, second, clusters=clusters))
            with_clusters.append((found.low, found.high))
            without.append(of_counts(int((which == 1).sum()), int((which == 2).sum()), n))
        yield dict(
            n=n, size=size, uneven=uneven, correlation=correlation, accuracy=accuracy,
            differ=n * float(shares[1] + shares[2]), ignored=held(without, 0.0).covered,
            **asdict(held(with_clusters, 0.0)),
        )  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """One task looked at again and again: the answer, the items it took, and what the intervals covered."""

    answer: str
    asked: int
    always: bool
    at_end: bool


def looked_at(intervals: Iterator[tuple[int, Interval]], limit: float, truth: float) -> Looked:
    """As ``--until-decided`` looks: the first interval that leaves out ``limit`` decides."""
    answer, asked, at_end, always = "", 0, True, True
    for n, (low, high) in intervals:
        always &= low <= truth <= high
        if not answer:
            asked, at_end = n, low <= truth <= high
            answer = "fail" if high < limit else "pass" if low >= limit else ""
    return Looked(answer, asked, always, at_end)


def sequential(trials: int) -> Iterator[dict[str, Any]]:
    """Up to ten looks at intervals of the levels that are due; in clusters too."""
    random = np.random.default_rng(3)
    for case in _looked_cases():
        n, shares = case["n"], cells(case["accuracy"], case["correlation"], case["drop"])
        looks = min(10, n // 50)
        ends, levels = [n * look // looks for look in range(1, looks + 1)], look_levels(looks)
        draw = partial(_looks_of_clusters, n, case["size"]) if case["size"] else _looks_of_items
        done = [
            looked_at(draw(random, shares, ends, levels), -case["tolerance"], -case["drop"])
            for _ in range(trials // (4 if case["size"] else 2 if n >= 2000 else 1))
        ]
        yield {
            **case,
            "trials": len(done),
            "fails": percent([each.answer == "fail" for each in done]),
            "passes": percent([each.answer == "pass" for each in done]),
            "always": percent([each.always for each in done]),
            "covered": percent([each.at_end for each in done]),
            "share": float(np.median([each.asked for each in done])) / n,
        }


def _looked_cases() -> Iterator[dict[str, Any]]:
    shapes = ((100, 0), (200, 0), (500, 0), (2000, 0), (5000, 0), (500, 5), (2000, 20))
    rules = ((0.0, 0.0), (0.0, 0.02), (0.03, 0.0))
    names = ("n", "size", "accuracy", "correlation", "drop", "tolerance")
    sides_ = ((0.25, 0.5), (0.5, 0.0), (0.5, 0.7), (0.75, 0.7), (0.9, 0.0), (0.9, 0.9))
    for shape, sides, rule in product(shapes, sides_, rules):
        of_clusters, at_most = shape[1] > 0, sides[1] == 0.7
        if cells(*sides, rule[0]) is not None and (at_most or not of_clusters):
            yield dict(zip(names, (*shape, *sides, *rule), strict=True))


def _looks_of_items(
    random: np.random.Generator, shares: Draws, ends: Sequence[int], levels: Sequence[float]
) -> Iterator[tuple[int, Interval]]:
    counts = random.multinomial(np.diff([0, *ends]), shares).cumsum(axis=0)
    for end, level, (_, gained, lost, _) in zip(ends, levels, counts, strict=True):
        yield end, of_counts(int(gained), int(lost), end, level)


def _looks_of_clusters(
    n: int,
    size: int,
    random: np.random.Generator,
    shares: Draws,
    ends: Sequence[int],
    levels: Sequence[float],
) -> Iterator[tuple[int, Interval]]:
    which, clusters = clustered(random, n, size, shares, 0.2, False)
    order = random.permutation(n)
    first, second = scores(which)
    for end, level in zip(ends, levels, strict=True):
        seen = order[:end]
        found = contrast(Pairs(first[seen], second[seen], clusters=clusters[seen]), level=level)
        yield end, (found.low, found.high)


def power(trials: int) -> Iterator[dict[str, Any]]:
    """True drops, judged item by item and, as peers do, by two accuracies alone."""
    random = np.random.default_rng(4)
    for n, drop, accuracy, correlation in product(
        (500, 2000, 5000), (0.01, 0.03), (0.5, 0.75), (0.0, 0.5, 0.7, 0.9)
    ):
        shares = cells(accuracy, correlation, drop)
        if shares is None:
            continue
        drawn = random.multinomial(n, shares, trials if n < 5000 else trials // 2)
        both, gained, lost, _ = drawn.T
        first, second = (both + lost) / n, (both + gained) / n
        errors = np.sqrt((first * (1 - first) + second * (1 - second)) / n)
        paired = [of_counts(int(g), int(k), n)[1] < 0 for g, k in zip(gained, lost, strict=True)]
        yield {
            **dict(
                zip(("n", "drop", "accuracy", "correlation"), (n, drop, accuracy, correlation), strict=True)
            ),
            "paired": percent(paired),
            "unpaired": percent(second - first + Z95 * errors < 0),
        }


def targets(trials: int) -> Iterator[dict[str, Any]]:
    """``--target-ci``, and the live table: one side's share right, looked at all the time."""
    random = np.random.default_rng(5)
    n = 5000
    for accuracy, half in product((0.1, 0.25, 0.5, 0.75, 0.9, 0.97), (0.015, 0.03, 0.05)):
        at_end, used, always = [], [], []
        for _ in range(trials // 2):
            right = np.cumsum(random.random(n) < accuracy)
            asked = _narrow_at(right, half)
            found = one_sample(np.repeat([1.0, 0.0], [right[asked - 1], asked - right[asked - 1]]))
            at_end.append((found.low, found.high))
            used.append(asked)
            always.append(_always(right, accuracy))
        yield dict(
            accuracy=accuracy, half=half, share=float(np.median(used)) / n, always=percent(always),
            **asdict(held(at_end, accuracy)),
        )  # fmt: skip


def _narrow_at(right: NDArray[np.int64], half: float) -> int:
    """After how many items, at ten looks, the interval is narrow enough."""
    n = len(right)
    for asked in range(n // 10, n + 1, n // 10):
        share = right[asked - 1] / asked
        if narrow_enough(asked, math.sqrt(share * (1 - share) / (asked - 1)), half):
            return asked
    return n


def _always(right: NDArray[np.int64], accuracy: float) -> bool:
    """Whether the always valid interval covers from the 16th item on, at every fourth of them."""
    for asked in range(16, len(right) + 1, 4):
        share = right[asked - 1] / asked
        low, high = always_valid(asked, share, math.sqrt(share * (1 - share) * asked / (asked - 1)))
        if not low <= accuracy <= high:
            return False
    return True


def others(trials: int) -> Iterator[dict[str, Any]]:
    """Scores that are not 0 or 1, factors, and groups."""
    random = np.random.default_rng(6)
    for n, (name, draw) in product((50, 200, 1000), _KINDS.items()):
        found = []
        for _ in range(trials // 2):
            drawn, factor, truth = draw(random, n)
            estimate = contrast(drawn, factor=factor)
            found.append((estimate.low - truth, estimate.high - truth))
        yield dict(n=n, kind=name, **asdict(held(found, 0.0)))


def _bits(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    first = random.gamma(2, 0.4, n)
    return Pairs(first, first + random.normal(0, 0.05, n)), 1.0, 0.0


def _long_texts(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    first = random.gamma(2, 0.4, n)
    weights = random.lognormal(0, 0.7, n)
    return Pairs(first, first + random.normal(0, 0.05, n), weights, scale="bits"), 1.0, 0.0


def _perplexity(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    first = random.normal(3, 0.5, n)
    return Pairs(first, first + random.normal(0, 0.1, n), scale="exp"), 1.0, 0.0


def _one_tail(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    first = random.gamma(2, 0.4, n)
    return Pairs(first, first + 0.02 * (random.lognormal(0, 1, n) - math.exp(0.5))), 1.0, 0.0


def _factor(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    which = random.choice(4, n, p=cells(0.5, 0.7))
    return Pairs(*scores(which)), 0.98, 0.5 - 0.98 * 0.5


def _group(random: np.random.Generator, n: int) -> tuple[Pairs, float, float]:
    sizes = [n // 10, n // 5, n - n // 10 - n // 5]
    strata = np.repeat(range(3), sizes)
    which = np.concatenate(
        [random.choice(4, size, p=cells(p, 0.5)) for size, p in zip(sizes, (0.3, 0.6, 0.4), strict=True)]
    )
    weights = np.repeat([1 / size for size in sizes], sizes)
    return Pairs(*scores(which), weights=weights, strata=strata), 1.0, 0.0


_KINDS: dict[str, Callable[[np.random.Generator, int], tuple[Pairs, float, float]]] = {
    "bits per byte, differences normal": _bits,
    "bits per byte, texts of uneven length": _long_texts,
    "perplexity": _perplexity,
    "differences with one long tail (lognormal)": _one_tail,
    "share right, rule `>= 98% * baseline`": _factor,
    "group over three uneven members": _group,
}


# ---- their tables ------------------------------------------------------------------------------------


def _marked(row: dict[str, Any]) -> str:
    few = "\\*" if row["differ"] < FEW else ""
    return f"{row['covered']:.1f} / {row['below']:.1f}{few}"


def pairs_table(rows: Sequence[dict[str, Any]]) -> str:
    """For each n, correlation and drop, the accuracies side by side."""
    lines = []
    for n, drop, correlation in product((50, 200, 1000, 5000), (0.0, 0.03), CORRELATIONS):
        here = {
            row["accuracy"]: _marked(row)
            for row in rows
            if (row["n"], row["correlation"], row["drop"]) == (n, correlation, drop)
        }
        if here:
            found = [here.get(accuracy, "–") for accuracy in ACCURACIES]
            lines.append([f"{n:,}", f"{100 * drop:.0f} points" if drop else "none", correlation, *found])
    head = ["items", "true drop", "correlation", *(f"accuracy {each}" for each in ACCURACIES)]
    return f"{table(head, lines)}\n\n{_bounds(rows)}"


def _bounds(rows: Sequence[dict[str, Any]]) -> str:
    many = [row["covered"] for row in rows if row["differ"] >= FEW]
    few = [row["covered"] for row in rows if row["differ"] < FEW]
    worst = max(row["below"] for row in rows if not row.get("drop"))
    text = f"Where at least {FEW} items are expected to differ: {min(many):.1f}% to {max(many):.1f}%"
    text += f" are covered; where fewer are (\\*), {min(few):.1f}% to {max(few):.1f}%" if few else ""
    return f"{text}. With no true difference at most {worst:.1f}% fail."


def clusters_table(rows: Sequence[dict[str, Any]]) -> str:
    """One row for each shape; several accuracies and correlations in one."""
    lines = []
    for row in rows:
        found = [row["correlation"], row["accuracy"], _marked(row), f"{row['ignored']:.1f}"]
        sizes = f"{row['size']} on average" if row["uneven"] else row["size"]
        lines.append([f"{row['n']:,}", sizes, *found])
    head = ["items", "items of a cluster", "correlation", "accuracy", "covered / fails", "clusters ignored"]
    return f"{table(head, lines)}\n\n{_bounds(rows)}"


def sequence_table(rows: Sequence[dict[str, Any]]) -> str:
    """One row for each case."""
    lines = [
        [
            f"{row['n']:,}{_sized(row['size'])}",
            row["accuracy"], row["correlation"], f"{100 * row['drop']:.0f} points" if row["drop"] else "none",
            f"`- {100 * row['tolerance']:.0f}pt`" if row["tolerance"] else "", f"{row['fails']:.1f}",
            f"{row['passes']:.1f}", f"{row['always']:.1f}", f"{row['covered']:.1f}",
            f"{100 * row['share']:.0f}%",
        ]
        for row in rows
    ]  # fmt: skip
    head = ["all items", "accuracy", "correlation", "true drop", "tolerance", "fail", "pass",
            "covered at all looks", "at the last one", "items used, median"]  # fmt: skip
    return f"{table(head, lines)}\n\n{_together(rows)}"


def _together(rows: Sequence[dict[str, Any]]) -> str:
    tries = [row["trials"] for row in rows]
    same = [row for row in rows if not row["drop"] and not row["tolerance"]]
    always = np.average([row["always"] for row in rows], weights=tries)
    fails = np.average([row["fails"] for row in same], weights=[row["trials"] for row in same])
    worst = max(row["fails"] for row in same)
    return (
        f"In all {sum(tries):,} trials together {always:.1f}% are covered at every look; with no true "
        f"difference and no tolerance {fails:.1f}% fail, and {worst:.1f}% in the worst case."
    )


def _sized(size: int) -> str:
    return f", in clusters of {size}" if size else ""


def power_table(rows: Sequence[dict[str, Any]]) -> str:
    """Paired and unpaired side by side."""
    lines = [
        [f"{row['n']:,}", f"{100 * row['drop']:.0f}", row["accuracy"], row["correlation"],
         f"{row['paired']:.1f}", f"{row['unpaired']:.1f}"]
        for row in rows
    ]  # fmt: skip
    head = ["items", "true drop, points", "accuracy", "correlation", "paired: fail", "unpaired z-test: fail"]
    return table(head, lines)


def targets_table(rows: Sequence[dict[str, Any]]) -> str:
    """One row for each share and width."""
    lines = [
        [row["accuracy"], f"{100 * row['half']:g}pt", f"{row['covered']:.1f}", f"{100 * row['share']:.0f}%",
         f"{row['always']:.1f}"]
        for row in rows
    ]  # fmt: skip
    head = ["accuracy", "`--target-ci`", "covered at the end", "items used of 5,000, median",
            "live interval, covered all the time"]  # fmt: skip
    return table(head, lines)


def others_table(rows: Sequence[dict[str, Any]]) -> str:
    """Kinds by the number of items."""
    lines = []
    for kind in _KINDS:
        here = [f"{row['covered']:.1f} / {row['below']:.1f} / {row['above']:.1f}" for row in rows
                if row["kind"] == kind]  # fmt: skip
        lines.append([kind, *here])
    return table(["scores", "50 items", "200 items", "1,000 items"], lines)


PARTS: dict[str, tuple[Callable[[int], Iterator[dict[str, Any]]], Callable[..., str]]] = {
    "pairs": (exchangeable, pairs_table),
    "clusters": (in_clusters, clusters_table),
    "sequence": (sequential, sequence_table),
    "power": (power, power_table),
    "targets": (targets, targets_table),
    "others": (others, others_table),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument(
        "--trials", type=int, default=1000, help="of each case, or of larger ones a share of it"
    )
    parser.add_argument("--write", action="store_true", help="keep what is found, and write the tables")
    parser.add_argument("--tell", action="store_true", help="write the tables of what was kept")
    given = parser.parse_args()
    for name in given.part or PARTS:
        rows = kept()[name] if given.tell else list(simulated(name, given.trials))
        if given.write:
            FILE.write_text(json.dumps({**kept(), name: rows}, indent=1) + "\n", encoding="utf-8")
        text = PARTS[name][1](rows)
        print(text)
        if given.write or given.tell:
            write_table(f"simulation-{name}", text, PAGE)


def kept() -> dict[str, Any]:
    """The rows of each part that was kept."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    return found


def simulated(name: str, trials: int) -> Iterator[dict[str, Any]]:
    """The rows of a part, told as they are found."""
    for row in PARTS[name][0](trials):
        print(name, json.dumps(row), file=sys.stderr, flush=True)
        yield row


if __name__ == "__main__":
    main()
