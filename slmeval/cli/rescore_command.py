"""``slmeval rescore``: other extractors and metrics over the answers of a run, without any model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from slmeval.cli import flags
from slmeval.cli.output import check_output, choose_reporter, complain, report
from slmeval.cli.run_command import anchored, warn_of_broken
from slmeval.errors import ExitCode, UsageError
from slmeval.types import Use


@click.command("rescore")
@click.argument("run")
@flags.with_options(
    click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="LABEL=NAME[:JSON]",
        help='One more extractor for texts: last=\'regex:{"pattern": "[0-9]+", "occurrence": -1}\'.',
    ),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="LABEL=NAME[:JSON]",
        help="One more metric for texts: strict=exact_match.",
    ),
    flags.DATA,
    click.option("--format", "form", metavar="NAME", help="table, md, json, csv, junit, bmf or github."),
    flags.OUTPUT,
    flags.STORE,
)
def command(
    run: str,
    filters: tuple[str, ...],
    metrics: tuple[str, ...],
    data: str | None,
    form: str | None,
    output: str | None,
    store: str | None,
) -> int:
    """Score the stored answers of RUN again, by today's extractors and metrics, as a run of its own."""
    from slmeval.registry import load
    from slmeval.rescoring import Extra, rescore
    from slmeval.store import Store, default_path

    extra = Extra(
        tuple(_use("--filter", each) for each in filters), tuple(_use("--metric", each) for each in metrics)
    )
    check_output(output)
    with Store.open(Path(store) if store else default_path(), must_exist=bool(store)) as opened:
        old = opened.run(run)
        if data is not None:
            # the rows may lie elsewhere today; that they are the same is seen from their hash
            old = replace(old, options=anchored(replace(old.options, data=data, sample=False)))
        registry = load(old.options.blocked_plugins)
        warn_of_broken(registry.plugins)
        reporter = choose_reporter(form, output, registry.parts.reporters)
        made = rescore(old, extra, registry, opened)
    report(made, reporter, output)
    for failure in made.failures:
        complain(f"{failure.backend}:{failure.model} failed: {failure.reason}")
    return ExitCode.JOB_FAILED if made.failures else ExitCode.DONE


def _use(flag: str, text: str) -> Use:
    """``label=name:{"setting": 1}`` as a use of a registered part."""
    label, equals, rest = text.partition("=")
    name, colon, told = rest.partition(":")
    if not equals or not label.strip() or not name:
        raise UsageError(f"{flag} {text}: write it as LABEL=NAME, or LABEL=NAME:JSON with its settings")
    try:
        settings = json.loads(told) if colon else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{flag} {text[:200]}: the settings are not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise UsageError(f"{flag} {text}: the settings must be a JSON object, not {told}")
    return Use(name, settings, label.strip())
