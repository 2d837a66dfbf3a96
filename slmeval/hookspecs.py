"""All hooks, in the order in which a run meets them.

A plugin is a module; it marks its functions with ``hookimpl`` and is found through the entry-point
group ``slmeval``. A hook may take fewer arguments than are listed here, and may be left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from slmeval.api import (
        Backend,
        Converter,
        Executor,
        Filter,
        Importer,
        Meter,
        Metric,
        Probe,
        Reporter,
        Task,
    )
    from slmeval.types import Answer, CellResult, Group, RunResult

hookspec = pluggy.HookspecMarker("slmeval")
hookimpl = pluggy.HookimplMarker("slmeval")

# ---- What a plugin brings: asked once, at start. Must not import an engine. -------------------------


@hookspec
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Return the backends this plugin brings, each named for ``--backend NAME``."""
    return ()


@hookspec
def slmeval_register_tasks() -> Iterable[Task]:
    """Return the tasks this plugin brings, each named for ``--tasks NAME``."""
    return ()


@hookspec
def slmeval_register_groups() -> Iterable[Group | tuple[str, tuple[str, ...]]]:
    """Return names that stand for several tasks: ``("arc", ("arc_easy", "arc_challenge"))``.

    A group of the same name from two plugins is joined. A :class:`slmeval.types.Group` may also say with how
    many shots its members are asked, and which figures it averages; such a group is brought by one plugin.
    """
    return ()


@hookspec
def slmeval_register_probes() -> Iterable[Probe]:
    """Return the probes of what a model costs, each named for ``--tasks NAME``."""
    return ()


@hookspec
def slmeval_register_metrics() -> Iterable[type[Metric]]:
    """Return metrics, which tasks use by name."""
    return ()


@hookspec
def slmeval_register_filters() -> Iterable[type[Filter]]:
    """Return filters, which tasks use by name."""
    return ()


@hookspec
def slmeval_register_reporters() -> Iterable[type[Reporter]]:
    """Return reporters, each named for ``--format NAME``."""
    return ()


@hookspec
def slmeval_register_executors() -> Iterable[type[Executor]]:
    """Return executors, each named for ``--executor NAME``."""
    return ()


@hookspec
def slmeval_register_meters() -> Iterable[type[Meter]]:
    """Return meters of energy, power or temperature."""
    return ()


@hookspec
def slmeval_register_converters() -> Iterable[type[Converter]]:
    """Return converters from one form of a model to another."""
    return ()


@hookspec
def slmeval_register_importers() -> Iterable[type[Importer]]:
    """Return importers of other tools' results."""
    return ()


@hookspec
def slmeval_register_commands() -> Iterable[click.Command]:
    """Return commands for the command line: ``slmeval NAME``."""
    return ()


# ---- What a plugin may watch, in the parent process. Values are frozen: look, do not touch. ---------


@hookspec
def slmeval_run_started(run_id: str, cells: tuple[str, ...]) -> None:
    """A run begins; ``cells`` name what it will measure, as ``task@shots on backend:model``."""


@hookspec
def slmeval_answer_scored(cell: str, index: int, answer: Answer, scores: dict[str, float | None]) -> None:
    """One answer was scored, under each metric. ``index`` is the row's place in the data set."""


@hookspec
def slmeval_cell_finished(cell: CellResult) -> None:
    """One cell has its figures."""


@hookspec
def slmeval_run_finished(run: RunResult) -> None:
    """The run is over, and is in the store."""
