"""Items, comparisons, histories and the matrix on pages: real runs of the demo model, and hostile stores."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("jinja2")
pytest.importorskip("uvicorn")

from safetensors.numpy import load_file, save_file
from service_thread import Running, no_worker, running

from slmeval.errors import UsageError
from slmeval.plan import Scorer
from slmeval.registry import Registry, load
from slmeval.service import figures
from slmeval.service.explorer import items_of
from slmeval.service.figures import Point
from slmeval.service.first_figures import first_figures
from slmeval.service.item_answers import answer_of
from slmeval.service.ledger import Ledger, Submission, now
from slmeval.service.pages.matrix import columns_of
from slmeval.service.problems import Refused
from slmeval.service.shelf import Shelf
from slmeval.store import Store
from slmeval.testing import evaluate
from slmeval.types import CellResult, Completion, Likelihood, Rolling, RunOptions, RunResult, Sample, Score

#: cells of the first run: each task on the demo model, then on a coarser copy of it
ARC, GSM, COARSE = 0, 1, 2
ITEMS = 12


def coarser(folder: Path, source: Path) -> Path:
    """A copy of a model with less precise weights."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    step = {name: np.float32(np.abs(each).max() / 3) for name, each in tensors.items()}
    rounded = {name: np.round(each / step[name]) * step[name] for name, each in tensors.items()}
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> tuple[Path, tuple[str, ...]]:
    """A store with runs, and their ids: two models in one; the coarse one alone; with shots."""
    folder = tmp_path_factory.mktemp("explorer")
    shutil.copytree(demo_model.parent / "rows", folder / "rows")
    coarse = coarser(folder / "coarse" / "model", demo_model)
    common = RunOptions(
        backends=("reference",), data=str(folder / "rows"), limit=ITEMS, executor="local", max_tokens=12
    )
    both = replace(common, models=(str(demo_model), str(coarse)), tasks=("arc_easy", "gsm8k"), shots=(0,))
    runs = (
        both,
        replace(common, models=(str(coarse),), tasks=("arc_easy",), shots=(0,)),
        replace(common, models=(str(demo_model),), tasks=("arc_easy",), shots=(1,)),
    )
    return folder, tuple(evaluate(each, folder / "store.db").id for each in runs)


@pytest.fixture
def folder(asked: tuple[Path, tuple[str, ...]], tmp_path: Path) -> Path:
    """A copy of the store that a test may change, closed."""
    with Store.open(asked[0] / "store.db") as store:
        # what is in the write-ahead log goes into the file
        store.select("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(asked[0] / "store.db", tmp_path / "store.db")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder / "store.db") as opened:
        yield opened


@pytest.fixture
def ids(asked: tuple[Path, tuple[str, ...]]) -> tuple[str, ...]:
    return asked[1]


@pytest.fixture
def server(folder: Path) -> Iterator[Running]:
    with running(no_worker(folder)) as (made, _):
        yield made


def page_of(server: Running, path: str, status: int = 200) -> str:
    """A page as a browser gets it."""
    reply = server.ask("GET", path, headers={"Accept": "text/html"})
    assert reply.status == status, reply.text
    assert reply.headers["content-type"].startswith("text/html")
    return reply.text


def cell_page(run: str, cell: int = ARC, **more: str) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in more.items())
    return f"/runs/{run}/cells/{cell}?{query}"


# ---- data: what was asked and answered -----------------------------------------------------------------


def test_choices_have_their_log_probabilities_and_agree_with_the_scores(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    found = items_of(store, registry, ids[0], ARC)
    assert (found.total, found.count, len(found.items), found.figure) == (ITEMS, ITEMS, ITEMS, "acc")
    assert not found.notes
    for item in found.items:
        assert item.answer is not None
        assert item.question
        assert item.target
        choices = item.answer.choices
        (right,) = [choice for choice in choices if choice.right]
        (chosen,) = [choice for choice in choices if choice.chosen]
        (by_character,) = [choice for choice in choices if choice.chosen_norm]
        assert right.text == item.target
        assert item.scores["acc"] == float(chosen is right)
        assert item.scores["acc_norm"] == float(by_character is right)
        assert all(
            choice.per_character == pytest.approx(choice.logprob / len(choice.text or ""))
            for choice in choices
        )
        best = max(choice.logprob for choice in choices if not choice.right)
        assert item.scores["margin"] == pytest.approx(right.logprob - best, rel=1e-5)


def test_texts_have_what_filters_found_and_why_they_ended(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    found = items_of(store, registry, ids[0], GSM)
    assert found.offers == ("all", "wrong", "flipped", "no_answer")
    for item in found.items:
        assert item.answer is not None
        (text,) = item.answer.texts
        assert text.reason in ("stop", "end", "length")
        assert 0 < text.tokens <= 12
        assert item.scores["no_answer/strict-match"] == float(text.found["strict-match"] is None)
        assert set(text.found) == {"strict-match", "flexible-extract", "robust"}


def test_the_whole_prompt_has_the_examples_and_the_question_stands_alone(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    (item, *_) = items_of(store, registry, ids[2], ARC).items
    assert item.prompt is not None
    assert item.question is not None
    assert item.prompt.endswith(item.question)
    assert item.prompt.count("Answer:") == 2
    assert item.question.count("Answer:") == 1


def test_items_are_kept_by_kind_and_paged(store: Store, registry: Registry, ids: tuple[str, ...]) -> None:
    def places(**more: object) -> list[int]:
        return [item.place for item in items_of(store, registry, ids[0], COARSE, **more).items]  # type: ignore[arg-type]

    everything = items_of(store, registry, ids[0], COARSE)
    wrong = [item.place for item in everything.items if item.scores["acc"] == 0]
    assert wrong, "the coarse model errs"
    assert places(only="wrong") == wrong
    assert places(offset=3, limit=4) == [3, 4, 5, 6]
    assert places(only="wrong", offset=1, limit=1) == wrong[1:2]
    assert places(offset=10**12) == []
    texts = items_of(store, registry, ids[0], GSM)
    silent = [item.place for item in texts.items if item.scores["no_answer/strict-match"]]
    assert silent
    found = items_of(store, registry, ids[0], GSM, only="no_answer")
    assert [item.place for item in found.items] == silent


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 0},
        {"limit": 10_000},
        {"offset": -1},
        {"only": "odd"},
        {"figure": "nope"},
        {"against": ["zz"]},
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(
    store: Store, registry: Registry, ids: tuple[str, ...], more: dict[str, object]
) -> None:
    with pytest.raises((UsageError, Refused)) as told:
        items_of(store, registry, ids[0], ARC, **more)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


def test_cells_that_are_not_there_are_not_found(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    for run, cell in ((ids[0], 99), (ids[0], -1), ("nothing", 0)):
        with pytest.raises(Refused) as told:
            items_of(store, registry, run, cell)
        assert told.value.status == 404


# ---- data: the other sides -----------------------------------------------------------------------------


def test_the_run_s_other_model_stands_beside_each_item(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    found = items_of(store, registry, ids[0], ARC)
    (side,) = found.sides
    assert (side.run, side.cell, side.common) == (ids[0], COARSE, ITEMS)
    theirs = items_of(store, registry, ids[0], COARSE)
    changed = 0
    for item, there in zip(found.items, theirs.items, strict=True):
        (other,) = item.others
        assert other.answer == there.answer
        assert (other.score, other.margin) == (there.scores["acc"], there.scores["margin"])
        assert other.flipped is (item.scores["acc"] != there.scores["acc"])
        changed += other.flipped
    assert changed == side.changed == side.gained + side.lost > 0
    flipped = items_of(store, registry, ids[0], ARC, only="flipped")
    assert flipped.count == changed
    assert all(item.others[0].flipped for item in flipped.items)


def test_runs_submitted_together_stand_beside_each_other(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    made = [
        Submission(run, "b1", now(), "", "queued", store.options_of(ids[0]), "reference")
        for run in (ids[0], ids[1], "not-begun")
    ]
    Ledger(store).submit(made)
    found = items_of(store, registry, ids[1], ARC)
    assert {(side.run, side.cell) for side in found.sides} == {(ids[0], ARC), (ids[0], COARSE)}


def test_any_run_may_be_held_against_it_and_what_differs_is_told(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    found = items_of(store, registry, ids[1], ARC, against=[f"{ids[0]}#reference"])
    assert len(found.sides) == 2
    assert not any(side.notes for side in found.sides)
    with_shots = items_of(store, registry, ids[1], ARC, against=[ids[2]])
    assert with_shots.sides == ()
    assert with_shots.notes == (f"{ids[2]} has not asked arc_easy@0",)


def test_a_damaged_run_of_the_batch_is_told_of_and_the_rest_stands(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    made = [
        Submission(run, "b1", now(), "", "queued", store.options_of(ids[0]), "reference") for run in ids[:2]
    ]
    Ledger(store).submit(made)
    with store.writing() as db:
        db.execute("UPDATE runs SET document = '{' WHERE id = ?", (ids[1],))
    found = items_of(store, registry, ids[0], ARC)
    assert len(found.items) == ITEMS
    assert len(found.sides) == 1
    assert any(ids[1] in note for note in found.notes)


# ---- data: what is gone, damaged, or from elsewhere ----------------------------------------------------


def moved(store: Store, run: str, **options: object) -> RunResult:
    """The run with other options, as if it had been made so."""
    made = store.run(run)
    changed = replace(made, options=replace(made.options, **options))  # type: ignore[arg-type]
    store.finish_run(changed)
    return changed


def test_rows_that_are_gone_leave_scores_and_log_probabilities(
    store: Store, registry: Registry, ids: tuple[str, ...], tmp_path: Path
) -> None:
    moved(store, ids[0], data=str(tmp_path / "nowhere"))
    found = items_of(store, registry, ids[0], ARC)
    assert len(found.items) == ITEMS
    assert "cannot be shown" in found.notes[0]
    item = found.items[0]
    assert (item.question, item.prompt, item.target) == (None, None, None)
    assert item.answer is not None
    assert item.answer.choices[0].text is None
    assert item.answer.choices[0].logprob < 0
    assert "acc" in item.scores


def test_rows_that_changed_are_not_shown_as_what_was_asked(
    store: Store, registry: Registry, asked: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    shutil.copytree(asked[0] / "rows", tmp_path / "rows")
    file = tmp_path / "rows" / "arc_easy" / "test.jsonl"
    lines = file.read_text().splitlines()
    first = json.loads(lines[0])
    first["question"] = "Something else?"
    file.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    moved(store, asked[1][0], data=str(tmp_path / "rows"))
    found = items_of(store, registry, asked[1][0], ARC)
    assert "not those that were asked" in found.notes[0]
    assert all(item.question is None for item in found.items)


def test_an_upload_is_scores_alone_and_no_file_that_it_names_is_read(
    store: Store, registry: Registry, ids: tuple[str, ...], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    shutil.copytree(Path(store.options_of(ids[0]).data or ""), secret)
    made = store.run(ids[0])
    uploaded = replace(made, id="uploaded", options=replace(made.options, data=str(secret)))
    store.finish_run(uploaded)
    Ledger(store).keep_upload("0" * 64, "uploaded", "someone")
    # nor where somebody gave it answers
    store.save_items("uploaded", ARC, store.items(ids[0], ARC))
    for cell in (ARC, GSM):
        found = items_of(store, registry, "uploaded", cell)
        assert found.total == ITEMS
        assert "scores alone" in found.notes[0]
        assert all(item.answer is None and item.question is None for item in found.items)
        assert [item.row for item in found.items] == list(range(ITEMS))
    assert found.items[0].scores


def test_answers_that_are_gone_are_said_to_be(store: Store, registry: Registry, ids: tuple[str, ...]) -> None:
    (_, _, key), *_ = store.items(ids[0], ARC)
    with store.writing() as db:
        db.execute("DELETE FROM answers WHERE key = ?", (key,))
    found = items_of(store, registry, ids[0], ARC)
    assert found.items[0].answer is None
    assert found.items[0].scores["acc"] is not None
    assert "answers of some items are no longer in the store" in found.notes


def hostile(store: Store, run: str, *texts: str) -> None:
    """Texts in the place of what the model wrote to the first questions."""
    items = store.items(run, GSM)
    with store.writing() as db:
        for (_, _, key), _ in zip(items, texts, strict=False):
            db.execute("DELETE FROM answers WHERE key = ?", (key,))
    store.save_replies(
        (key, Completion(text, (1, 2, 3), "length", thought=text[:1000], thought_tokens=1))
        for (_, _, key), text in zip(items, texts, strict=False)
    )


def test_a_text_of_ten_million_characters_is_cut_and_its_length_told(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    hostile(store, ids[0], "#### 7 " * 1_500_000)
    begun = time.thread_time()
    (item, *_) = items_of(store, registry, ids[0], GSM).items
    assert time.thread_time() - begun < 10
    assert item.answer is not None
    (text,) = item.answer.texts
    assert (len(text.text), text.length) == (20_000, 10_500_000)
    assert "not looked through" in text.note
    assert text.found == {}


# ---- what is kept at hand ------------------------------------------------------------------------------


def test_questions_are_made_once_and_forgotten_when_there_are_many(
    store: Store, registry: Registry, ids: tuple[str, ...]
) -> None:
    shelf = Shelf(registry)
    run = shelf.run(store, ids[0])
    assert shelf.run(store, ids[0]) is run
    made = shelf.draft(run, run.cells[ARC])
    assert len(made.rows) == ITEMS
    assert made.seconds > 0
    assert shelf.draft(run, run.cells[COARSE]) is made, "the same questions on another model"
    for number in range(20):
        shelf.draft(replace(run, id=f"r{number}"), run.cells[ARC])
    assert shelf.draft(run, run.cells[ARC]) is not made


def test_a_run_that_went_on_is_read_again(store: Store, registry: Registry, ids: tuple[str, ...]) -> None:
    shelf = Shelf(registry)
    before = shelf.run(store, ids[0])
    store.finish_run(replace(before, finished="2099-01-01T00:00:00+00:00"))
    assert shelf.run(store, ids[0]).finished.startswith("2099")


# ---- the page of items ---------------------------------------------------------------------------------


def test_the_page_shows_questions_choices_and_who_flipped(server: Running, ids: tuple[str, ...]) -> None:
    text = page_of(server, cell_page(ids[0]))
    assert text.count("<article") == ITEMS
    assert "chosen" in text
    assert "flipped" in text
    assert "badge-good" in text
    assert f'href="/runs/{ids[0]}"' in text
    assert "sample" in text, "fewer rows than the data set has"
    flipped = page_of(server, cell_page(ids[0], only="flipped"))
    assert 0 < flipped.count("<article") < ITEMS
    one = re.search(r'href="(/runs/[^"]*item=[0-9a-f]{12})"', text)
    assert one is not None
    assert page_of(server, one[1].replace("&amp;", "&")).count("<article") == 1


def test_pages_have_no_inline_script_or_style(server: Running, ids: tuple[str, ...]) -> None:
    for path in (
        cell_page(ids[0]),
        cell_page(ids[0], GSM),
        f"/compare?first={ids[0]}",
        "/history",
        "/matrix",
        "/compare",
    ):
        text = page_of(server, path)
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text)
        assert "<h1" in text
        assert text.count("<main") == 1


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\x00\x1b[31m\u202eevil\u2066\ud800\"'&{{7*7}}"


def test_hostile_texts_are_text(server: Running, folder: Path, ids: tuple[str, ...]) -> None:
    with Store.open(folder / "store.db") as store:
        hostile(store, ids[0], EVIL, "#### " + EVIL, "\x00" * 5000, "")
    text = page_of(server, cell_page(ids[0], GSM))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text
    assert "\u2066" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "\\u202e" in text
    assert "␀" in text
    assert "\\ud800" in text
    assert "{{7*7}}" in text
    assert "(nothing)" in text


def test_hostile_names_are_text_on_every_page(server: Running, folder: Path, ids: tuple[str, ...]) -> None:
    name = '<b onmouseover="x">\u202e#:\x01' + "y" * 300
    with Store.open(folder / "store.db") as store:
        made = store.run(ids[0])
        cells = tuple(replace(cell, model=name, name=f"<i>{cell.name}", notes=(name,)) for cell in made.cells)
        models = tuple(replace(each, label=name) for each in made.models)
        store.finish_run(replace(made, id="evil", cells=cells, models=models, started="2099-01-01T00:00:00Z"))
    for path in ("/runs/evil/cells/0", "/compare?first=evil&shared=true", "/compare", "/history", "/matrix"):
        reply = server.ask("GET", path, headers={"Accept": "text/html"})
        assert reply.status in (200, 422)
        assert "<b onmouseover" not in reply.text
        assert "<i>" not in reply.text
        assert "\u202e" not in reply.text
        assert "\x01" not in reply.text


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ("{", 503),
        ('{"schema": "slmeval.run/9"}', 422),
        ('{"schema": "other/1"}', 422),
        ("[]", 422),
        (None, 404),
    ],
)
def test_a_damaged_or_foreign_document_is_a_sentence(
    server: Running, folder: Path, ids: tuple[str, ...], document: str | None, status: int
) -> None:
    with Store.open(folder / "store.db") as store, store.writing() as db:
        db.execute("UPDATE runs SET document = ? WHERE id = ?", (document, ids[0]))
    for path in (cell_page(ids[0]), f"/compare?first={ids[0]}"):
        text = page_of(server, path, status)
        assert 'class="problem"' in text
        assert "Traceback" not in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/{0}/cells/99", 404),
        ("/runs/{0}/cells/x", 422),
        ("/runs/nope/cells/0", 404),
        ("/runs/..%2f..%2fetc%2fpasswd/cells/0", 404),
        ("/runs/{0}/cells/0?only=odd", 422),
        ("/runs/{0}/cells/0?offset=-1", 422),
        ("/runs/{0}/cells/0?offset=99999999999999999999", 200),
        ("/runs/{0}/cells/0?figure=nope", 422),
        ("/runs/{0}/cells/0?against=nope", 404),
        ("/runs/{0}/cells/0?item=%27%20OR%201=1--", 200),
        ("/compare?first=/etc/passwd", 404),
        ("/compare?first={0}&tasks=nope", 422),
        ("/compare?first={0}&figures=nope", 422),
        ("/compare?first={0}%23nope", 422),
        ("/history?task=nope", 422),
        ("/history?manner=99999999999999999999999", 200),
        ("/history?shots=99999999999999999999999", 422),
        ("/matrix?kind=odd", 422),
        ("/matrix?figure=nope&backend=%00", 200),
    ],
)
def test_odd_addresses_are_answered_in_the_layout(
    server: Running, ids: tuple[str, ...], path: str, status: int
) -> None:
    reply = server.ask("GET", path.format(*ids), headers={"Accept": "text/html"})
    assert reply.status in (status, 404, 400) if ".." in path or "%00" in path else reply.status == status
    assert "Traceback" not in reply.text


# ---- the page that compares ----------------------------------------------------------------------------


def test_two_models_are_compared_and_flips_lead_to_their_items(server: Running, ids: tuple[str, ...]) -> None:
    text = page_of(server, f"/compare?first={ids[0]}")
    assert "arc_easy@0/acc" in text
    assert "Gained/lost" in text
    assert "p (Holm)" in text
    assert "Detectable" in text
    assert "badge-bad" in text, "the coarse model is worse"
    links = re.findall(r'href="(/runs/[^"]*/cells/[^"]*item=[^"]*)"', text)
    assert links
    item = page_of(server, links[0].replace("&amp;", "&"))
    assert item.count("<article") == 1
    assert "flipped" in item
    assert "Question:" in text, "flips are listed with their questions"


def test_what_is_not_comparable_has_its_reasons_and_a_button(server: Running, ids: tuple[str, ...]) -> None:
    first, second = f"{ids[1]}", f"{ids[2]}"
    text = page_of(server, f"/compare?first={first}&second={second}")
    assert "not comparable" in text
    assert "shots: 0 and 1" in text
    shared = re.search(r'href="(/compare[^"]*shared=true)"', text)
    assert shared is not None
    assert "arc_easy" in page_of(server, shared[1].replace("&amp;", "&"))


def test_the_form_offers_the_newest_sides(server: Running, ids: tuple[str, ...]) -> None:
    text = page_of(server, "/compare")
    for run in ids:
        assert f'value="{run}#reference:model' in text
    alone = page_of(server, f"/compare?first={ids[1]}")
    assert "nothing to be compared with" in alone
    assert "<form" in alone


def test_an_upload_s_rows_are_not_read_for_its_flips(
    server: Running, folder: Path, ids: tuple[str, ...]
) -> None:
    with Store.open(folder / "store.db") as store:
        store.finish_run(replace(store.run(ids[0]), id="uploaded"))
        Ledger(store).keep_upload("0" * 64, "uploaded", "someone")
    text = page_of(server, "/compare?first=uploaded")
    assert "Items with another score" in text
    assert "Question:" not in text


# ---- figures over runs, and models against tasks -------------------------------------------------------


def test_a_history_has_a_line_for_each_side_and_a_table(server: Running, ids: tuple[str, ...]) -> None:
    text = page_of(server, "/history?task=arc_easy&figure=acc&manner=0")
    assert text.count("<svg") == 3, "two models of one run, and one whose name another has"
    assert "95% interval" in text
    assert "asked alike" not in text
    newest = page_of(server, "/history")
    assert "arc_easy" in newest
    assert "<svg" in newest
    other = page_of(server, "/history?task=gsm8k&figure=acc&manner=0")
    assert "has no figure" in other
    assert "exact_match" in other


def test_runs_on_other_rows_machines_or_samples_are_not_the_same_thing(
    server: Running, folder: Path, ids: tuple[str, ...]
) -> None:
    with Store.open(folder / "store.db") as store:
        made = store.run(ids[1])
        (cell,) = made.cells
        data = replace(cell.data, sha256="f" * 64)
        for number, changed in enumerate(
            (
                replace(made, cells=(replace(cell, data=data),)),
                replace(made, machine=replace(made.machine, processor="Another")),
                replace(made, cells=(replace(cell, sample=False),)),
                replace(made, cells=(_of_fewer(cell),)),
                made,
            )
        ):
            store.finish_run(
                replace(changed, id=f"other-{number}", started=f"2099-01-0{number + 1}T00:00:00Z")
            )
    text = page_of(server, "/history?task=arc_easy&figure=acc&manner=0&model=model")
    for words in ("other rows", "another machine", "no sample", "another number of items"):
        assert f"</strong> {words}" in text
    assert text.count('class="ring"') == 4
    assert "asked alike" in text


def _of_fewer(cell: CellResult) -> CellResult:
    return replace(cell, figures=tuple(replace(each, n=each.n - 1) for each in cell.figures))


def point(model: str, value: float | None, width: float = 0.05, **changes: object) -> Point:
    low, high = (None, None) if value is None else (value - width, value + width)
    made = Point(
        f"run-{model}",
        0,
        "2026-01-01T00:00:00Z",
        "done",
        "task",
        "arc_easy",
        0,
        "off",
        "hf",
        model,
        "acc",
        0,
        value,
        low,
        high,
        100,
        "",
        "measured",
        False,
        True,
        "1.0",
        "rows",
        "{}",
        "cpu",
        "w",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("points", "standings"),
    [
        ((point("a", 0.9), point("b", 0.5)), {"a": "best", "b": ""}),
        ((point("a", 0.9), point("b", 0.85)), {"a": "tied", "b": "tied"}),
        ((point("a", 0.9), point("b", 0.85), point("c", 0.2)), {"a": "tied", "b": "tied", "c": ""}),
        ((point("a", 0.9),), {"a": ""}),
        ((point("a", None), point("b", 0.5)), {"a": "", "b": ""}),
        ((point("a", 0.9, better=None), point("b", 0.5, better=None)), {"a": "", "b": ""}),
        ((point("a", 0.9, better=False), point("b", 0.5, better=False)), {"a": "", "b": "best"}),
        # other rows are another thing: neither best, nor in the way of the best
        (
            (point("a", 0.9, rows="x", started="2025"), point("b", 0.5), point("c", 0.2)),
            {"a": "", "b": "best", "c": ""},
        ),
        ((point("a", 0.9, low=None, high=None), point("b", 0.88)), {"a": "tied", "b": "tied"}),
        ((point("a", 0.9, low=None, high=None), point("b", 0.5)), {"a": "best", "b": ""}),
    ],
)
def test_best_is_said_only_where_no_other_interval_reaches_it(
    points: tuple[Point, ...], standings: dict[str, str]
) -> None:
    (column,) = columns_of(points)
    assert {side[1]: cell.standing for side, cell in column.cells.items()} == standings


@pytest.mark.parametrize(
    ("kind", "told", "first"),
    [
        ("task", [("acc_bytes", "", True), ("acc", "", True)], "acc"),
        ("task", [("acc_rotated", "", True), ("acc_corrected", "", True)], "acc_rotated"),
        ("task", [("share", "", None), ("bits_per_byte", "bits", False)], "bits_per_byte"),
        ("probe", [("decode", "tok/s", True), ("coverage", "", True)], "decode"),
        ("probe", [("layers", "MiB", None), ("weights", "MiB", None)], "weights"),
    ],
)
def test_a_matrix_reads_first_what_a_run_does(
    kind: str, told: list[tuple[str, str, bool | None]], first: str
) -> None:
    points = [
        point("a", 0.5, kind=kind, figure=name, unit=unit, better=better, place=place)
        for place, (name, unit, better) in enumerate(told)
    ]
    assert first_figures(kind, [each.as_figure() for each in points])[0].name == first
    assert figures.main_of(points[::-1]).figure == first
    assert figures.main_of([replace(each, value=None) for each in points]).place == 0


def test_weights_of_an_earlier_model_of_the_name_are_not_ranked() -> None:
    old = point("a", 0.9, weights="old", started="2025")
    newer = point("a", 0.5, task="piqa", weights="new")
    columns = columns_of([old, newer, point("b", 0.2)])
    cell = next(column for column in columns if column.label == "arc_easy@0").cells["hf", "a"]
    assert cell.standing == ""
    assert "other weights" in cell.differs[0]


def test_the_matrix_has_the_newest_result_of_each_model(
    server: Running, folder: Path, ids: tuple[str, ...]
) -> None:
    text = page_of(server, "/matrix")
    assert "arc_easy@0" in text
    assert "arc_easy@1" in text
    assert "gsm8k@0" in text
    assert text.count("sample") >= 4
    assert "Bold" in text
    with Store.open(folder / "store.db") as store:
        best = figures.main_figures(figures.newest(store))
        gsm = [each for each in best if each.task == "gsm8k"]
        assert {each.figure for each in gsm} == {"exact_match/strict-match"}, "as a report reads it first"
        made = store.run(ids[1])
        store.finish_run(replace(made, id="newer", started="2099-01-01T00:00:00Z"))
        newest = [
            each.run for each in figures.newest(store, "acc") if (each.shots, each.model) == (0, "model")
        ]
    assert newest == ["newer"]
    assert "exact_match/robust" in page_of(server, "/matrix?figure=exact_match%2Frobust")
    assert "no such results" in page_of(server, "/matrix?kind=probe")


# ---- ten thousand runs ---------------------------------------------------------------------------------


def test_a_history_of_ten_thousand_runs_is_found_in_the_index(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        with store.writing() as db:
            runs = [(f"r{n:05}", f"2026-01-01T{n:06}", n) for n in range(10_000)]
            db.executemany(
                "INSERT INTO runs (id, started, finished, status, options, document)"
                " VALUES (?1, ?2, '', 'done', '{}', '{}')",
                [run[:2] for run in runs],
            )
            columns = ", ".join("?" * 23)
            for figure in ("acc", "acc_norm"):
                rows = [
                    (
                        *(run, 0, "task", "arc_easy", 0, "off", "hf", "m", figure, 0, 0.5, 0.4, 0.6, 100, ""),
                        *("measured", 0, 1, "1.0", "rows", "{}", "cpu", "w"),
                    )
                    for run, _, _ in runs
                ]
                db.executemany(f"INSERT INTO figures VALUES ({columns})", rows)
        seconds = []
        for _ in range(5):
            begun = time.thread_time()
            found = figures.history(store, "arc_easy", "acc", 0, "off")
            seconds.append(time.thread_time() - begun)
        assert [each.run for each in found[:2]] == ["r09999", "r09998"]
        assert len(found) == figures.MOST_RUNS
        assert min(seconds) < 0.1
        values = ("arc_easy", "acc", 0, "off", 200, 2000)
        plan = " ".join(
            str(row[-1]) for row in store.select(f"EXPLAIN QUERY PLAN {figures.HISTORY}", *values)
        )
        assert "figures_by_name (task=? AND figure=? AND shots=? AND chat=? AND run=?)" in plan
        assert "runs_by_start" in plan
        assert "SCAN f" not in plan
        assert (figures.tasks(store), figures.figures(store, "arc_easy")) == (
            ["arc_easy"],
            ["acc", "acc_norm"],
        )


def test_an_empty_store_has_pages_that_say_so(tmp_path: Path) -> None:
    with running(no_worker(tmp_path)) as (server, _):
        for path in ("/history", "/matrix", "/compare"):
            assert "There are no" in page_of(server, path)


# ---- answers of other kinds ----------------------------------------------------------------------------


def likely(*logprobs: float) -> list[Likelihood]:
    return [Likelihood((logprob,), False) for logprob in logprobs]


def test_choices_in_every_order_are_told_turn_by_turn() -> None:
    asked_ = tuple(Score(f"order {turn}", letter) for turn in range(2) for letter in "AB")
    answer = answer_of(Sample(asked_, 1, ("A", "B")), Scorer((), ()), 1, likely(-1, -2, -1, -2))
    told = [(each.turn, each.text, each.right, each.chosen) for each in answer.choices]
    assert told == [
        (0, "A", False, True),
        (0, "B", True, False),
        (1, "A", True, True),
        (1, "B", False, False),
    ]


def test_a_question_for_each_choice_stands_beside_it() -> None:
    sample = Sample((Score("He", "left"), Score("She", "left")), (0, 1), ("left", "left"))
    answer = answer_of(sample, Scorer((), ()), 1, likely(-3, -3))
    assert [each.question for each in answer.choices] == ["He", "She"]
    assert [(each.right, each.chosen) for each in answer.choices] == [(True, True), (True, False)]


def test_windows_of_a_text_are_one_and_replies_that_do_not_fit_are_shown_bare() -> None:
    whole = answer_of(Sample((Rolling("a text"),), "a text"), Scorer((), ()), 1, likely(-1, -2, -4))
    assert [(each.text, each.logprob, each.tokens) for each in whole.choices] == [("a text", -7, 3)]
    sample = Sample((Score("q", "a"), Score("q", "b")), 0, ("a", "b"))
    odd = answer_of(sample, Scorer((), ()), 1, likely(-1, -2, -4))
    assert [(each.text, each.logprob) for each in odd.choices] == [(None, -1), (None, -2), (None, -4)]
