"""Examples that others published travel in an archive, to a machine that has no lm-evaluation-harness."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from slmeval.archives import content, write_archive
from slmeval.datasets import DataSource, open_folder
from slmeval.errors import DataError
from slmeval.manifests import FREE
from slmeval.questions import draft, open_source
from slmeval.reads import named_tasks, reads
from slmeval.registry import load
from slmeval.types import RunOptions

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

PARTS = load().parts
NAMES = ("gsm8k_cot", "bbh_fewshot_word_sorting", "bbh_cot_zeroshot_word_sorting", "bbh_fewshot_navigate")


@pytest.fixture
def folder(tmp_path: Path) -> DataSource:
    """Rows of ours, without any examples."""
    for name, row in (
        ("gsm8k", '{"question": "1 + 1?", "answer": "#### 2"}'),
        ("bbh_word_sorting", '{"input": "List: bee ant", "target": "ant bee"}'),
        ("bbh_navigate", '{"input": "Walk on.", "target": "No"}'),
    ):
        (tmp_path / "rows" / name).mkdir(parents=True)
        (tmp_path / "rows" / name / "test.jsonl").write_text(row)
    return open_folder(tmp_path / "rows")


def asked(name: str, source: DataSource) -> list[str]:
    task = PARTS.tasks[name]
    made = draft(RunOptions(), task, task.shots, PARTS, source)
    return [request.prompt for sample in made.samples for request in sample.requests]


def test_what_is_packed_asks_the_same_where_the_harness_is_not(
    folder: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: asked(name, folder) for name in NAMES}
    found = reads(named_tasks(NAMES, PARTS), folder)
    assert (found.failures, found.elsewhere) == ((), {})
    parts = [content(each.spec, each.split, each.rows, each.published) for each in found.found]
    write_archive(tmp_path / "rows.zip", parts, FREE)
    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lm_eval" else plain(name))
    with pytest.raises(DataError, match="it is not installed"):
        asked("gsm8k_cot", folder)
    archive = open_source(RunOptions(data=str(tmp_path / "rows.zip")), demo=False)
    assert {name: asked(name, archive) for name in NAMES} == before
    with pytest.raises(DataError, match=r"bbh/texts\.jsonl has no texts of navigate in family zeroshot"):
        asked("bbh_zeroshot_navigate", archive)
    again = reads(named_tasks(NAMES, PARTS), archive)
    assert [(each.split, each.rows.sha256) for each in again.found] == [
        (each.split, each.rows.sha256) for each in found.found
    ]
