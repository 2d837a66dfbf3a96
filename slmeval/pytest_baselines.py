"""Baselines that a session of pytest writes: the outcomes of its runs, put together into one file.

What the file had and the session did not measure stays, so that a session may run some of the tests alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from slmeval.baselines import Baseline, read_baseline, write_baseline
from slmeval.comparability import unlike
from slmeval.errors import UsageError
from slmeval.sides import sides_of
from slmeval.types import CellResult

Key = tuple[str, str, str, int, str]
_WAY_OUT = "give one of the tests a file of its own: baseline=... in its marker"


def update(path: Path, fresh: Sequence[Path]) -> str:
    """Put the baselines in the files ``fresh`` into the one at ``path``, and say so.

    :raises UsageError: one file cannot hold them all, and why.
    :raises slmeval.errors.SlmevalError: a file holds something else, or cannot be written.
    """
    measured = sorted(map(read_baseline, fresh), key=lambda each: each.written)
    _check(measured)
    stays = _staying(path, measured)
    together = _together([*stays, *measured])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_baseline(together, path)
    kept = sum(len(each.cells) for each in stays)
    told = f", of which {kept} as before" if kept else ""
    count = len(together.cells)
    return f"baseline written: {path} ({count} {'result' if count == 1 else 'results'}{told})"


def _key(cell: CellResult) -> Key:
    return cell.backend, cell.model, cell.name, cell.shots, cell.chat


def _staying(path: Path, measured: Iterable[Baseline]) -> list[Baseline]:
    """What the file has that was not measured now: one baseline, or none."""
    if not path.exists():
        return []
    old = read_baseline(path)
    anew = {_key(cell) for each in measured for cell in each.cells}
    rest = replace(old, cells=tuple(cell for cell in old.cells if _key(cell) not in anew))
    return [rest] if rest.cells else []


def _check(measured: Sequence[Baseline]) -> None:
    """:raises UsageError: two runs measured the same, and asked otherwise."""
    for first, second in combinations(measured, 2):
        for here, there in combinations((*sides_of(first), *sides_of(second)), 2):
            for one in here.cells:
                for other in there.cells:
                    if _key(one) == _key(other) and (differences := unlike(here, one, there, other)):
                        raise UsageError(
                            f"{one.name}@{one.shots} of {one.model} on {one.backend} was asked in two ways "
                            f"({'; '.join(differences)}): {_WAY_OUT}"
                        )


def _together(parts: Sequence[Baseline]) -> Baseline:
    """One baseline; of what several have, the last one's is taken."""
    last = parts[-1]
    for each in parts:
        if each.settings != last.settings:
            names = sorted(name for name in last.settings if each.settings.get(name) != last.settings[name])
            raise UsageError(
                f"runs {each.run} and {last.run} have other settings ({', '.join(names)}): {_WAY_OUT}"
            )
    cells = {_key(cell): cell for each in parts for cell in each.cells}
    used = {key[:2] for key in cells}
    models = {(model.backend, model.label): model for each in parts for model in each.models}
    return replace(
        last,
        models=tuple(models[key] for key in sorted(models) if key in used),
        cells=tuple(cells[key] for key in sorted(cells)),
        demo=all(each.demo for each in parts),
    )
