"""``slmeval run``: measure models on engines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slmeval.cli import flags
from slmeval.cli.output import check_output, choose_reporter, complain, report
from slmeval.cli.progress import Bar
from slmeval.errors import ExitCode, UsageError
from slmeval.models import is_there
from slmeval.registry import SWITCHED_OFF, PluginRecord
from slmeval.types import RunOptions, RunResult

if TYPE_CHECKING:
    from slmeval.store import Store

#: flags that say where and how, not what is measured: a resumed run may be given others
_ANOTHER_WAY = ("timeout", "executor", "pythons")
_WITH_RESUME = {"resume", "store", "form", "output", *_ANOTHER_WAY}
_CODES = {"done": ExitCode.DONE, "failed": ExitCode.JOB_FAILED, "interrupted": ExitCode.INTERRUPTED}


@click.command("run")
@flags.with_options(
    click.option(
        "--tasks",
        callback=flags.names,
        metavar="NAMES",
        help="Tasks, groups, globs or TOML files, with commas.",
    ),
    flags.BACKENDS,
    flags.MODELS,
    flags.SHOTS,
    click.option("--limit", type=int, metavar="N", help="Ask the first N rows only."),
    flags.DATA,
    flags.SAMPLE,
    flags.DTYPE,
    flags.SEED,
    flags.TOKENIZER,
    flags.CHAT,
    flags.WRITING,
    click.option("--compat", metavar="NAME", help="'lm-eval' draws the shots as lm-evaluation-harness does."),
    click.option(
        "--position-bias", is_flag=True, help="Ask lettered choices in every place too: does it matter where?"
    ),
    click.option(
        "--target-ci",
        multiple=True,
        callback=flags.parts,
        metavar="[FIGURE=]WIDTH",
        help="End a task when its 95% interval is ± so narrow: 1.5pt, or 0.02.",
    ),
    click.option("--until-decided", is_flag=True, help="End a task when the rules about it are decided."),
    click.option("--baseline", metavar="FILE", help="What --until-decided holds the rules against."),
    click.option("--rules", "rules_file", metavar="FILE", help="A TOML file with a list: rules."),
    click.option(
        "--rule", "rules", multiple=True, metavar="RULE", help="Such as 'arc_easy/acc >= baseline - 1pt'."
    ),
    flags.EXECUTOR,
    flags.PYTHONS,
    flags.ENGINE_OPTIONS,
    flags.BLOCKED,
    flags.TIMEOUT,
    click.option(
        "--format",
        "form",
        metavar="NAME",
        help="table, md, json, csv, junit, bmf or github; by the file's ending, or table.",
    ),
    flags.OUTPUT,
    flags.STORE,
    click.option(
        "--resume",
        is_flag=False,
        flag_value="",
        metavar="[RUN]",
        help="Go on with an unfinished run, the newest if none is named.",
    ),
)
@click.pass_context
def command(
    context: click.Context,
    /,
    form: str | None,
    output: str | None,
    store: str | None,
    resume: str | None,
    rules_file: str | None,
    rules: tuple[str, ...],
    **given: object,
) -> int:
    """Measure models on engines, and report.

    Without --model the bundled demo model answers bundled sample rows: a demonstration, offline.
    """
    from slmeval.head_start import HeadStart
    from slmeval.planner import plan
    from slmeval.registry import load, refuse_unknown
    from slmeval.run import execute, executor_of
    from slmeval.store import Store, default_path

    _refuse_empty(context)
    every = (*(_rules_of(rules_file) if rules_file is not None else ()), *rules)
    options = anchored(RunOptions(**given, rules=every))  # type: ignore[arg-type]  # click has typed them above
    check_output(output)
    with Store.open(Path(store) if store else default_path()) as opened:
        run_id = None
        if resume is not None:
            _refuse_other_flags(context)
            run_id = _unfinished(opened, resume)
            options = replace(opened.options_of(run_id), **_given(context, _ANOTHER_WAY))
        registry = load(options.blocked_plugins)
        refuse_unknown(options.blocked_plugins, registry.plugins)
        warn_of_broken(registry.plugins)
        reporter = choose_reporter(form, output, registry.parts.reporters)
        with HeadStart(executor_of(options, registry)) as head_start:
            planned = plan(options, registry.parts, opened.file_hash, head_start)
            for failure in planned.refused:
                complain(f"{failure.backend}:{failure.model} cannot be measured: {failure.reason}")
            result = execute(planned, registry, opened, Bar(sys.stderr), run_id, head_start)
    report(result, reporter, output)
    return _tell(result)


def _rules_of(path: str) -> tuple[str, ...]:
    """The rules as written, so that the run has them though the file changes."""
    from slmeval.rules import read_rules

    return tuple(rule.text for rule in read_rules(Path(path)).rules)


def _refuse_other_flags(context: click.Context) -> None:
    """A resumed run is the run it was: no flag may change what is measured."""
    for name in _given(context, context.params):
        if name not in _WITH_RESUME:
            (flag,) = [each.opts[0] for each in context.command.params if each.name == name]
            raise UsageError(f"--resume goes on with a run as it was asked for; leave out {flag}")


def _given(context: click.Context, names: Iterable[str]) -> dict[str, Any]:
    """Those of the parameters that stand on the command line."""
    line = click.core.ParameterSource.COMMANDLINE
    return {name: context.params[name] for name in names if context.get_parameter_source(name) is line}


def _refuse_empty(context: click.Context) -> None:
    if _given(context, ["backends"]) and not context.params["backends"]:
        raise UsageError("--backend names no engine: leave it out for the best one that is here")


def anchored(options: RunOptions) -> RunOptions:
    """The options with their paths made absolute, so that a run means the same from any folder."""
    return replace(
        options,
        data=_absolute(options.data),
        baseline=str(Path(options.baseline).expanduser().absolute()) if options.baseline else None,
        tokenizer=_absolute(options.tokenizer),
        models=tuple(map(_absolute_model, options.models)),
        tasks=tuple(_absolute_task(name) for name in options.tasks),
        pythons={name: _absolute(python) or python for name, python in options.pythons.items()},
    )


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path and is_there(path) else path


def _absolute_task(name: str) -> str:
    return _absolute(name) or name if name.endswith(".toml") else name


def _absolute_model(text: str) -> str:
    backend, equals, rest = text.partition("=")
    if equals and not is_there(text):
        return f"{backend}={_absolute(rest)}"
    return _absolute(text) or text


def _unfinished(store: Store, named: str) -> str:
    run_id = store.full_id(named) if named else store.unfinished()
    if run_id is None:
        raise UsageError("no run is unfinished: nothing to resume (slmeval runs lists all)")
    if store.status_of(run_id) == "done":
        raise UsageError(f"run {run_id} is done: slmeval show {run_id}")
    if (answered := store.rescored_from(run_id)) is not None:
        raise UsageError(f"run {run_id} asked nothing, it scored answers again: slmeval rescore {answered}")
    if store.is_uploaded(run_id):
        raise UsageError(f"run {run_id} was made elsewhere and uploaded: it can go on where it began alone")
    return run_id


def warn_of_broken(plugins: Iterable[PluginRecord]) -> None:
    """Say on stderr which plugins are left out, and why."""
    for plugin in plugins:
        if plugin.broken and plugin.broken != SWITCHED_OFF:
            complain(f"plugin {plugin.name!r} ({plugin.origin}) is left out: {plugin.broken}")


def _tell(result: RunResult) -> int:
    for failure in result.failures:
        complain(f"{failure.backend}:{failure.model} failed: {failure.reason}")
    if result.status != "done":
        complain(f"{result.status}; go on with: slmeval run --resume {result.id}")
    return _CODES[result.status]
