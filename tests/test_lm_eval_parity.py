"""For every task that lm-evaluation-harness also has: what is asked, and what comes of the same likelihoods.

The tasks are those of the registry: one that is in neither table of ``lm_eval_tasks`` fails a test here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval_coverage import FAMILIES, NOT_COVERED, document, shown
from lm_eval_tasks import LocalTask, definition, lm_eval_task, requests, shows_none
from written_rows import DATASETS, write_rows

from slmeval.datasets import open_folder
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.selection import select
from slmeval.types import Answer, Generate, Likelihood, Reply, Rolling, RunOptions, Sample, Score

ROOT = Path(__file__).parents[1]
PARTS = load().parts
COVERED = [name for name in PARTS.tasks if definition(name) is not None]
SCORED = [name for name in COVERED if PARTS.tasks[name].kind != "generation"]
LIMIT = 40
COMPAT = RunOptions(compat="lm-eval", limit=LIMIT)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder in which a task's rows lie: real ones, or those written for the test."""
    written = write_rows(tmp_path_factory.mktemp("written"))

    def folder(name: str) -> Path:
        if PARTS.tasks[name].dataset.name in DATASETS:
            return written
        if not (ROOT.parent / "shared" / "data").is_dir():
            pytest.skip("the real rows of ../shared/data are not here")
        return ROOT.parent / "shared" / "data"

    return folder


def ours(name: str, folder: Path, shots: int) -> Draft:
    return draft(COMPAT, PARTS.tasks[name], shots, PARTS, open_folder(folder))


def arguments(request: Score | Generate | Rolling) -> tuple[Any, ...]:
    if isinstance(request, Score):
        return request.context, request.continuation
    return (request.text,) if isinstance(request, Rolling) else (request.prompt,)


def test_every_task_is_compared_or_says_why_not() -> None:
    for name in PARTS.tasks:
        told = (name.startswith(tuple(prefixes)) for prefixes in (NOT_COVERED, FAMILIES))
        assert [name in COVERED, *told].count(True) == 1, name


def test_the_document_lists_what_is_compared() -> None:
    shown = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    assert shown == document(), "refresh it with: python tests/lm_eval_coverage.py --write"


@pytest.mark.parametrize(
    ("name", "shots"),
    [(name, 0) for name in COVERED]
    + [(name, shown(task)) for name in COVERED if (task := PARTS.tasks[name]).dataset.shots],
)
def test_every_prompt_and_continuation_is_that_of_lm_eval(
    name: str, shots: int, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of(name)
    asked = requests(lm_eval_task(name, folder, shots), limit=LIMIT)
    made = ours(name, folder, 0 if shows_none(name) else shots).samples
    assert len(made) == len(asked) > 0
    for sample, instances in zip(made, asked, strict=True):
        theirs = [one.args[:1] if one.request_type == "generate_until" else one.args for one in instances]
        assert [arguments(request) for request in sample.requests] == theirs


@pytest.mark.parametrize("name", [name for name in COVERED if PARTS.tasks[name].lm_eval_zero_shot])
def test_tasks_without_examples_in_lm_eval_have_none_under_its_rules(name: str) -> None:
    (wish,) = select(RunOptions(tasks=(name,), shots=(5,), compat="lm-eval"), PARTS).wishes
    assert (wish.shots, bool(wish.note)) == (0, True)


@pytest.mark.parametrize("name", COVERED)
def test_version_data_and_draws_are_those_of_lm_eval(name: str, folder_of: Callable[[str], Path]) -> None:
    task, theirs = PARTS.tasks[name], lm_eval_task(name, folder_of(name))
    assert task.version == str(theirs.VERSION)
    assert task.dataset.hub == theirs.config.dataset_path
    # MMLU's subjects are configurations there, and a field of one configuration here
    expected = "all" if name.startswith("mmlu_") else theirs.config.dataset_name
    assert task.dataset.config == expected
    assert (task.shot_order == "first") == ("first_n" in str(theirs.config.fewshot_config))
    if task.shot_order == "drawn" and task.dataset.shots is not None:
        assert task.lm_eval_same_split == (theirs.fewshot_cfg.split == theirs.config.test_split)
    assert task.lm_eval_zero_shot == shows_none(name)


# ---- figures of the same likelihoods -----------------------------------------------------------------


def replies(sample: Sample, place: int) -> tuple[Reply, ...]:
    """Likelihoods that fall with length, so that norming matters, and with many ties."""
    lengths = [len(arguments(request)[-1]) for request in sample.requests]
    logprobs = [-float(length + 3 * ((place + n) % 5)) / 4 for n, length in enumerate(lengths)]
    return tuple(Likelihood((logprob,), (place + n) % 3 == 0) for n, logprob in enumerate(logprobs))


def lm_eval_figures(task: LocalTask, docs: list[Any], answered: list[tuple[Reply, ...]]) -> dict[str, float]:
    rolling = task.OUTPUT_TYPE == "loglikelihood_rolling"
    scores: dict[str, list[Any]] = {}
    for doc, given in zip(docs, answered, strict=True):
        pairs = [(reply.logprob, reply.greedy) for reply in given if isinstance(reply, Likelihood)]
        results = [logprob for logprob, _ in pairs] if rolling else pairs
        for metric, score in task.process_results(doc, results).items():
            scores.setdefault(metric, []).append(score)
    return {metric: task.aggregation()[metric](found) for metric, found in scores.items()}


@pytest.mark.parametrize("name", SCORED)
def test_every_figure_of_lm_eval_follows_from_the_same_likelihoods(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of(name)
    theirs = lm_eval_task(name, folder)
    made, asked = ours(name, folder, 0), requests(theirs, limit=LIMIT)
    answered = [replies(sample, place) for place, sample in enumerate(made.samples)]
    expected = lm_eval_figures(theirs, [instances[0].doc for instances in asked], answered)
    assert expected
    metrics = dict(made.scorer.metrics)
    for metric, value in expected.items():
        # winogrande's and mmlu's letters are of one length: norming changes nothing, and we leave it out
        found = metrics[metric] if metric in metrics else metrics[metric.removesuffix("_norm")]
        answers = [Answer(sample, given) for sample, given in zip(made.samples, answered, strict=True)]
        scores, weights = [found.score(each) for each in answers], [found.weight(each) for each in answers]
        figure = found.total(metric, [score for score in scores if score is not None], weights)
        assert figure.value is not None
        assert math.isclose(figure.value, value, rel_tol=1e-9), metric


def test_a_group_is_weighted_as_lm_eval_weights_it() -> None:
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr

    from slmeval.averages import group_figures
    from slmeval.plan import GroupCell
    from slmeval.types import CellResult, DataOrigin, Figure

    sizes = [100, 135, 1534, 7]
    values, errors = [0.25, 0.5, 0.31, 1 / 7], [0.0435, 0.0432, 0.0118, 0.1429]
    origin = DataOrigin("made", "00", 1)
    cells = {
        (str(place), 5): CellResult(
            *("task", str(place), "1", "b", "m", 5, 1, n, False),
            (Figure("acc", value, error, None, n, ""),),
            {},
            origin,
        )
        for place, (n, value, error) in enumerate(zip(sizes, values, errors, strict=True))
    }
    group = GroupCell(PARTS.groups["mmlu_stem"], 5, tuple(cells))
    acc = group_figures(group, cells, {"acc"})[0]
    assert acc.value == pytest.approx(aggregate_subtask_metrics(values, sizes, True), abs=1e-12)
    assert acc.stderr == pytest.approx(pooled_sample_stderr(errors, sizes), abs=1e-12)
