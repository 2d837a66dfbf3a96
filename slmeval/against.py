"""``gate --against``: another model or another environment on the other side of timing rules."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median

from slmeval.differences import Estimate
from slmeval.environments import python_in, trouble_with
from slmeval.errors import UnknownName, UsageError
from slmeval.gate_sentences import OF_INTERVAL, percent
from slmeval.interleaving import PAIRS, TimedRule, interleave
from slmeval.plan import Job, Plan
from slmeval.planner import plan
from slmeval.registry import Registry
from slmeval.rules import Rule
from slmeval.run import executor_of
from slmeval.runner import Progress
from slmeval.store import Store
from slmeval.types import RunOptions
from slmeval.verdicts import Judged


def against(
    options: RunOptions,
    other: str,
    rules: Sequence[Rule],
    registry: Registry,
    store: Store,
    progress: Progress,
    *,
    pairs: int = PAIRS,
) -> tuple[Judged, ...]:
    """Judge timing ``rules`` of a run with ``options`` against ``other``, both timed in turn.

    ``other`` is a model, which takes the run's place on each of its engines, or an environment (its folder or
    its interpreter), in which the run's own engines and models are. In the rules it is ``baseline``.

    :raises slmeval.errors.UsageError: it is neither, cannot be measured, or a rule fits nothing.
    :raises slmeval.errors.JobFailed: a side failed while it was timed.
    """
    rules = [each for rule in rules for each in _spelled_out(rule, registry)]
    mine, theirs = _plans(_bare(options, rules, registry), other, registry, store)
    executor = executor_of(options, registry)
    found = []
    for job in mine.jobs:
        held = _held(job, theirs, other)
        timed = interleave(
            job, held, rules, executor, options.timeout, progress, pairs=pairs, jobs=len(mine.jobs)
        )
        found += [_judged(job, other, each, pairs) for each in timed]
    return tuple(found)


# ---- what is measured --------------------------------------------------------------------------------


def _spelled_out(rule: Rule, registry: Registry) -> Iterator[Rule]:
    """The rule for each probe that it is about.

    :raises UsageError: there is none, or it is held against a number, which takes no other side.
    """
    if not rule.needs_baseline:
        raise UsageError(f"rule {rule.text!r} needs no other side: it is judged in the run alone")
    probes = registry.parts.probes
    names = [name for name in probes if fnmatchcase(name, rule.task)]
    if not names:
        raise UnknownName("probe", rule.task, probes)
    for name in names:
        yield replace(rule, task=name)


def _bare(options: RunOptions, rules: Sequence[Rule], registry: Registry) -> RunOptions:
    """The run's options for the rules' probes alone, without those of what is not measured again."""
    probes = tuple(dict.fromkeys(rule.task for rule in rules))
    backends = options.backends or tuple(registry.parts.backends)
    parts = [registry.parts.probes[name] for name in probes]
    parts += [registry.parts.backends[name] for name in backends if name in registry.parts.backends]  # type: ignore[misc]
    own = {part.name: {option.name for option in part.options} for part in parts}
    given = {name: text for name, text in options.engine_options.items() if _is_known(name, own)}
    return replace(options, tasks=probes, engine_options=given, shots=None, chat_template="off")


def _is_known(name: str, own: dict[str, set[str]]) -> bool:
    part, dot, option = name.partition(".")
    return option in own.get(part, ()) if dot else any(name in names for names in own.values())


def _plans(options: RunOptions, other: str, registry: Registry, store: Store) -> tuple[Plan, Plan]:
    """Of both sides.

    :raises UsageError: one of them cannot be had.
    """
    mine = _planned(options, registry, store)
    engines = tuple(dict.fromkeys(job.backend.name for job in mine.jobs))
    python = _python(other)
    if python is None:
        changed = replace(options, backends=engines, models=(other,))
        return mine, _planned(changed, registry, store)
    for name in engines:
        if (trouble := trouble_with(name, python)) is not None:
            raise UsageError(f"--against {other}: {trouble}")
    pythons = dict.fromkeys(engines, str(python))
    return mine, _planned(replace(options, backends=engines, pythons=pythons), registry, store)


def _planned(options: RunOptions, registry: Registry, store: Store) -> Plan:
    made = plan(options, registry.parts, store.file_hash)
    if made.refused:
        raise UsageError(made.refused[0].reason)
    return made


def _held(job: Job, theirs: Plan, other: str) -> Job:
    """The job on the other side: of the same engine, and of the same model where it has that."""
    engine = [each for each in theirs.jobs if each.backend.name == job.backend.name]
    same = [each for each in engine if each.label == job.label]
    found = same or engine
    if len(found) != 1:
        raise UsageError(f"--against {other}: {job.backend.name} has {len(found)} models there, and not one")
    return found[0]


def _python(other: str) -> Path | None:
    """The interpreter that is meant, or ``None`` where it is a model."""
    path = Path(other).expanduser()
    if (path / "pyvenv.cfg").is_file():
        return python_in(path)
    if path.is_file() and path.suffix != ".gguf" and os.access(path, os.X_OK):
        return path
    named = shutil.which(other) if other.startswith("python") else None
    return Path(named) if named else None


# ---- the answers -------------------------------------------------------------------------------------


def _judged(job: Job, other: str, timed: TimedRule, pairs: int) -> Judged:
    rule = timed.rule
    if timed.excess is None:
        sentence = f"not decided: {timed.trouble}"
        return Judged(
            rule.text, timed.answer, sentence, rule.task, None, rule.figure, job.backend.name, job.label
        )
    told = _Told(timed, other)
    return Judged(
        rule.text,
        timed.answer,
        told.sentence(pairs),
        rule.task,
        None,
        rule.figure,
        job.backend.name,
        job.label,
        timed.unit,
        told.value,
        told.limit,
        told.baseline,
        told.excess,
    )


@dataclass(frozen=True)
class _Told:
    """A timed rule's numbers, as a reader wants them."""

    timed: TimedRule
    other: str

    @property
    def value(self) -> float:
        return median(self.timed.values)

    @property
    def baseline(self) -> float:
        return median(self.timed.baselines)

    @property
    def limit(self) -> float:
        return self.timed.rule.limit(self.baseline, self.timed.unit)

    @property
    def excess(self) -> Estimate | None:
        """In the figure's unit; ``None`` where there were too few pairs for an interval."""
        found = self._logs
        if math.isinf(found.low):
            return None
        middle, low, high = (self.limit * math.expm1(each) for each in (found.value, found.low, found.high))
        error = self.limit * math.exp(found.value) * found.stderr
        return replace(found, value=middle, low=low, high=high, stderr=error)

    @property
    def _logs(self) -> Estimate:
        assert self.timed.excess is not None
        return self.timed.excess

    def sentence(self, pairs: int) -> str:
        """What was found, in how many pairs, and why that is the answer."""
        timed, n = self.timed, self._logs.n
        both = f"{self._amount(self.value)} against {self._amount(self.baseline)} of {self.other}"
        seen = f"{n} pairs in turn, p = {timed.p:.2g}"
        # rounded down: no interval is of 100%
        level = percent(math.floor(1e4 * self._logs.level) / 1e4)
        if math.isinf(self._logs.low):
            return f"{both}; {seen}: too few pairs for an interval of {level}"
        middle, low, high = map(self._share, (self._logs.value, self._logs.low, self._logs.high))
        interval = f"{level} interval {low} to {high}; {seen}"
        side = "below" if timed.rule.upward else "above"
        said = OF_INTERVAL[timed.answer].format(side, f"the limit of {self._limit}")
        more = f"; more pairs may decide it (--pairs {2 * pairs})" if timed.answer == "inconclusive" else ""
        return f"{both}: {middle} {self._of} ({interval}): {said}{more}"

    def _share(self, log: float) -> str:
        """Of the baseline where the rule has a factor alone; else of the limit."""
        return percent(round(self._factor * math.exp(log), 4))

    @property
    def _plain(self) -> bool:
        return self.timed.rule.amount == 0

    @property
    def _factor(self) -> float:
        factor = self.timed.rule.factor
        return factor if self._plain and factor is not None else 1.0

    @property
    def _of(self) -> str:
        return "of it" if self._plain else f"of the limit of {self._amount(self.limit)}"

    @property
    def _limit(self) -> str:
        return percent(self._factor)

    def _amount(self, value: float) -> str:
        return f"{value:.4g} {self.timed.unit}"
