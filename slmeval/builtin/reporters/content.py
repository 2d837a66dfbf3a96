"""What a readable report says of a run, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from slmeval.builtin.reporters.blocks import Block, Command, Listing, Paragraph
from slmeval.builtin.reporters.figures import against_chance, columns, figure_table, fold, task_text
from slmeval.builtin.reporters.runtime import conditions, spreads
from slmeval.builtin.reporters.text import plural
from slmeval.types import CellResult, Machine, ModelInfo, ModelReport, OptionValue, RunOptions, RunResult

#: short enough for one line
_DEMO = "Demonstration: the demo model on {}. It says nothing about any real model."
REAL_RUN = "slmeval run --model HuggingFaceTB/SmolLM2-135M --tasks arc,hellaswag"

#: what is counted, in words; a part after a slash names the filter
_COUNTED = {
    "truncated": "requests shortened to fit the model's context",
    "merged": "requests whose tokens join across the boundary of context and continuation",
    "doubled_bos": "requests that begin with BOS twice, which no model was trained on",
    "cap_hit": "answers that hit the token cap",
    "no_answer": "texts without an answer",
    "flawed": "rows with a flaw, scored as they are",
}

#: the options of a run that are told where they are not the default
_CHOICES = (
    *("limit", "sample", "dtype", "tokenizer", "compat", "position_bias", "chat_template", "chat_shots"),
    *("template_options", "thinking", "max_tokens", "temperature", "top_p", "repeats"),
)


def report(run: RunResult) -> Iterator[Block]:
    """The whole report: what was run, the figures, what must be said of them, and their origin."""
    run, folded = fold(run)
    if run.demo:
        yield Paragraph(_DEMO.format(_demo_rows(run)), strong=True)
    yield Paragraph(_heading(run))
    yield from _status(run)
    yield figure_table(run) if any(cell.figures for cell in run.cells) else Paragraph("No figures.")
    if folded:
        yield Paragraph(f"The members of {', '.join(folded)} stand in the JSON and CSV reports.")
    yield from _remarks(run)
    if run.failures:
        yield Listing("Failed", tuple((f"{job.model} · {job.backend}", job.reason) for job in run.failures))
    yield Listing("Origin", tuple(_origin(run)))
    if run.demo:
        yield Paragraph("Measure a real model with:")
        yield Command(REAL_RUN)


def _demo_rows(run: RunResult) -> str:
    sources = {cell.data.source.partition(" ")[0] for cell in run.cells if cell.kind != "probe"}
    if not sources and run.cells:
        return "random tokens"
    own = sorted(sources & {"archive", "folder", "file"})
    return f"rows of {'an' if own[0] == 'archive' else 'a'} {own[0]}" if own else "bundled sample rows"


def _heading(run: RunResult) -> str:
    models = ", ".join(f"{model} · {backend}" for model, backend in columns(run)) or "no model"
    tasks = ", ".join(dict.fromkeys(cell.name for cell in run.cells)) or "nothing measured"
    return f"Run {run.id}: {models}; {tasks}; {run.started} to {run.finished}."


def _status(run: RunResult) -> Iterator[Block]:
    if run.status == "interrupted":
        yield Paragraph("Interrupted: these are the figures so far. Go on with:", strong=True)
        yield Command(f"slmeval run --resume {run.id}")
    if run.status == "failed":
        yield Paragraph("Not all that was asked for could be measured: see what failed, below.", strong=True)


# ---- under the table ---------------------------------------------------------------------------------


def _remarks(run: RunResult) -> Iterator[Block]:
    several = len(columns(run)) > 1
    named = [(_label(cell, several), cell) for cell in run.cells]
    remarks = (
        ("Sample: fewer rows than the data set has", _samples(run.cells)),
        ("Chance (95% intervals)", _chance(named)),
        ("Counts", _counts(named)),
        ("Spread (percentiles)", spreads(named)),
        ("Conditions", conditions(named)),
        ("Notes", _notes(run, named)),
    )
    for title, lines in remarks:
        # the same is often true on every backend: said once
        if unique := tuple(dict.fromkeys(lines)):
            yield Listing(title, unique)


def _label(cell: CellResult, several: bool) -> str:
    label = f"{task_text(cell)}, {plural(cell.shots, 'shot')}" if cell.kind != "probe" else cell.name
    return f"{label}, {cell.model} · {cell.backend}" if several else label


def _samples(cells: Iterable[CellResult]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        rows = plural(cell.data.rows, "row")
        asked = f"asked {cell.n:,} of {rows}" if cell.n < cell.data.rows else f"asked all {rows} of a sample"
        if cell.sample:
            yield cell.name, f"{asked} ({cell.data.source})"


def _chance(named: Iterable[tuple[str, CellResult]]) -> Iterator[tuple[str, str]]:
    for label, cell in named:
        above, others = against_chance(cell)
        told = [f"above chance: {', '.join(above)}"] if above else []
        told += [f"not shown to be above chance: {', '.join(others)}"] if others else []
        if told:
            yield label, "; ".join(told)


def _counts(named: Iterable[tuple[str, CellResult]]) -> Iterator[tuple[str, str]]:
    for label, cell in named:
        told = [f"{count:,} {_in_words(name)}" for name, count in cell.counts.items() if count]
        if told:
            yield label, "; ".join(told)


def _in_words(name: str) -> str:
    counted, _, part = name.partition("/")
    words = _COUNTED.get(counted, counted.replace("_", " "))
    return f"{words} ({part})" if part else words


def _notes(run: RunResult, named: Iterable[tuple[str, CellResult]]) -> Iterator[tuple[str, str]]:
    for model in run.models:
        yield from ((f"{model.label} · {model.backend}", note) for note in model.notes)
    for label, cell in named:
        yield from ((label, note) for note in cell.notes)
        for figure in cell.figures:
            # without an error, or without a value, the note stands in the table
            if figure.note and figure.value is not None and figure.stderr is not None:
                yield f"{label}, {figure.name}", figure.note


# ---- origin ------------------------------------------------------------------------------------------


def _origin(run: RunResult) -> Iterator[tuple[str, str]]:
    for model in run.models:
        yield from _model_lines(model)
    yield "Machine", _machine(run.machine)
    seeds = dict.fromkeys([str(cell.seed) for cell in run.cells] or [str(run.options.seed)])
    yield "Seed", ", ".join(seeds)
    yield from _choices(run.options)
    yield from dict.fromkeys(("Data", line) for cell in run.cells for line in _data_lines(cell))
    yield "Versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())
    yield "Answers", f"{run.asked:,} asked, {run.reused:,} reused from the store"


def _model_lines(model: ModelReport) -> Iterator[tuple[str, str]]:
    yield "Model", f"{model.reference} · {model.backend}, hash {_hash(model.model_hash)}"
    if model.info is None:
        yield "Size", "unavailable (the model was never opened)"
    else:
        yield "Size", _size(model.info)
        yield "Engine", f"{model.info.engine} {model.info.engine_version}{_options(model.options)}"
    yield "Tokenizer", f"{model.tokenizer}, hash {_hash(model.tokenizer_hash)}"
    if model.template_hash:
        yield "Template", f"the model's own chat template, hash {_hash(model.template_hash)}"


def _size(info: ModelInfo) -> str:
    # a server need not tell
    weights = f"{info.parameters:,} unique parameters ({info.parameters_stored:,} stored)"
    context = f"context {info.context:,} tokens" if info.context else "context not told"
    size = weights if info.parameters else "parameters not told"
    return f"{size}, {info.architecture}, {info.dtype} on {info.device}, {context}"


def _options(options: Mapping[str, OptionValue]) -> str:
    # engine and version stand before them already
    told = [f"{name}={value}" for name, value in options.items() if name not in {"engine", "version"}]
    return f" ({', '.join(told)})" if told else ""


def _machine(machine: Machine) -> str:
    memory = f"{machine.memory / 2**30:.1f} GiB" if machine.memory else "memory unknown"
    told = (machine.processor, f"{plural(machine.cores, 'core')}", memory, *machine.accelerators)
    return f"{machine.system}, {', '.join(told)}, Python {machine.python}"


def _choices(options: RunOptions) -> Iterator[tuple[str, str]]:
    """What was asked for and is not the default, as far as it changes the numbers."""
    plain = RunOptions()
    told = [
        f"{name}={value}" for name in _CHOICES if (value := getattr(options, name)) != getattr(plain, name)
    ]
    if told:
        yield "Options", ", ".join(told)


def _data_lines(cell: CellResult) -> Iterator[str]:
    data = cell.data
    if cell.kind == "probe":
        yield f"{cell.name} {cell.version}: {data.source}{_settings(cell.settings)}"
        return
    yield f"{cell.name} {cell.version}: {data.source}, hash {_hash(data.sha256)}"
    if data.shots_source:
        yield f"{cell.name} shots: {data.shots_source}, hash {_hash(data.shots_sha256)}"


def _settings(settings: Mapping[str, OptionValue]) -> str:
    told = [f"{name}={value}" for name, value in settings.items() if value not in (None, "")]
    return f" ({', '.join(told)})" if told else ""


def _hash(digest: str) -> str:
    return digest[:12] or "unknown"
