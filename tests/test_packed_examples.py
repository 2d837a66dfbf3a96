"""Examples that others published travel in an archive, to a machine that has no lm-evaluation-harness."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest

from slmeval.archives import content, verify, write_archive, write_folder
from slmeval.datasets import DataSource, Rows, made_rows, open_folder
from slmeval.errors import DataError
from slmeval.manifests import FREE
from slmeval.questions import draft, open_source
from slmeval.reads import beside, named_tasks, reads
from slmeval.registry import load
from slmeval.types import DatasetSpec, RunOptions

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

PARTS = load().parts
GSM8K = PARTS.tasks["gsm8k"]
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


def archived(path: Path, names: Sequence[str], source: DataSource) -> bytes:
    found = reads(named_tasks(names, PARTS), source)
    assert (found.failures, found.elsewhere) == ((), {})
    write_archive(
        path, [content(each.spec, each.split, each.rows, each.published) for each in found.found], FREE
    )
    return path.read_bytes()


def test_neither_the_order_of_the_names_nor_a_way_by_an_archive_changes_examples(
    folder: DataSource, tmp_path: Path
) -> None:
    whole = archived(tmp_path / "rows.zip", NAMES, folder)
    assert archived(tmp_path / "back.zip", NAMES[::-1], folder) == whole
    archive = open_source(RunOptions(data=str(tmp_path / "rows.zip")), demo=False)
    shown = PARTS.tasks["gsm8k_cot"].load(archive, "examples")
    assert shown.source.startswith("archive gsm8k_cot/examples.jsonl, from lm-evaluation-harness ")
    archived(tmp_path / "again.zip", NAMES, archive)
    first, again = (verify(tmp_path / name).files for name in ("rows.zip", "again.zip"))
    for name in ("bbh/texts.jsonl", "gsm8k_cot/examples.jsonl"):
        assert again[name] == first[name]


def test_a_second_pull_into_a_folder_leaves_what_the_first_had_of_a_table(
    folder: DataSource, tmp_path: Path
) -> None:
    def pulled(root: Path, *names: str) -> bytes:
        for name in names:
            found = reads(named_tasks([name], PARTS), folder).found
            there = [beside(each, open_folder(root)) if root.is_dir() else each for each in found]
            write_folder(root, [content(each.spec, each.split, each.rows, each.published) for each in there])
        verify(root)
        return (root / "bbh" / "texts.jsonl").read_bytes()

    texts = pulled(tmp_path / "one", *NAMES)
    assert pulled(tmp_path / "other", *NAMES[::-1], *NAMES) == texts
    assert len(texts.splitlines()) == 3


def test_two_lists_of_examples_are_not_made_one(tmp_path: Path) -> None:
    class Shows(GSM8K.__class__):  # type: ignore[misc, name-defined]
        """Shows one example of its own, under a name that another has too."""

        def load(self, source: DataSource, split: str) -> Rows:
            spec = DatasetSpec("shown", "examples", ("question",))
            rows = made_rows([{"question": self.name}], f"a book of {self.name}", "book")
            source.offer(spec, "examples", rows)
            return rows

    one, other = (Shows(**{**vars(GSM8K), "name": name}) for name in ("one", "other"))
    (tmp_path / "rows").mkdir()
    found = reads([one, other, one], open_folder(tmp_path / "rows"))
    (kept,) = found.found
    assert [row["question"] for row in kept.rows.rows] == ["one"]
    (told,) = map(str, found.failures)
    assert "shown/examples is of a book of one and of a book of other" in told


def test_what_is_packed_asks_the_same_where_the_harness_is_not(
    folder: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: asked(name, folder) for name in NAMES}
    found = reads(named_tasks(NAMES, PARTS), folder)
    assert (found.failures, found.elsewhere) == ((), {})
    archived(tmp_path / "rows.zip", NAMES, folder)
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
