"""Rows from folders, from the bundled sample, and from a small hub on the loopback."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from small_hub import SmallHub, serving

from slmeval.datasets import Rows, open_folder, open_sample
from slmeval.errors import DataError, MissingExtra
from slmeval.hub_rows import PinRules, open_hub
from slmeval.pins import Key, Pin, Pins, default_path
from slmeval.types import DatasetSpec
from slmeval_commonsense import ARC_CHALLENGE, ARC_EASY, HELLASWAG, PIQA
from slmeval_math import GSM8K

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
TOY = DatasetSpec("toy", "test", ("q", "a"), shots="train", hub="someone/toy", config="main")
TOY_ROWS = (
    {"q": " two spaces  kept ", "a": {"text": ["x", "y\u2028z"], "label": ["A", "B"]}, "n": 1},
    {"q": "Größe?", "a": {"text": ["ß", "🙂"], "label": ["1", "2"]}, "n": 2},
    {"q": "", "a": {"text": [], "label": []}, "n": None},
)


def jsonl(rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows: object) -> bytes:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    out = BytesIO()
    writer.write_table(pa.Table.from_pylist(list(rows)), out)
    return out.getvalue()


def folder_of(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def load(root: Path, files: Mapping[str, bytes], split: str = "test", spec: DatasetSpec = TOY) -> Rows:
    return open_folder(folder_of(root, files)).load(spec, split)


# ---- a folder --------------------------------------------------------------------------------------


def test_json_lines_keep_every_character_and_their_order(tmp_path: Path) -> None:
    rows = load(tmp_path, {"toy/test.jsonl": jsonl(TOY_ROWS)})
    assert rows.rows == TOY_ROWS
    assert rows.source == "folder toy/test.jsonl"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + jsonl(TOY_ROWS),
        jsonl(TOY_ROWS).replace(b"\n", b"\r\n"),
        jsonl(TOY_ROWS) + b"\n  \n",
        jsonl(TOY_ROWS).rstrip(b"\n"),
    ],
    ids=["byte order mark", "carriage returns", "blank lines at the end", "no line feed at the end"],
)
def test_how_the_lines_are_written_makes_no_difference(tmp_path: Path, data: bytes) -> None:
    rows = load(tmp_path, {"toy/test.jsonl": data})
    plain = load(tmp_path / "plain", {"toy/test.jsonl": jsonl(TOY_ROWS)})
    assert (rows.rows, rows.sha256) == (plain.rows, plain.sha256)


def test_parquet_gives_the_same_rows_and_hash_as_json_lines(tmp_path: Path) -> None:
    lines = load(tmp_path / "lines", {"toy/test.jsonl": jsonl(TOY_ROWS)})
    table = load(tmp_path / "table", {"toy/test.parquet": parquet(TOY_ROWS)})
    assert table.rows == lines.rows
    assert table.sha256 == lines.sha256
    assert type(table.rows[0]["a"]["text"]) is list


def test_parts_are_joined_in_their_order_and_places_count_in_each(tmp_path: Path) -> None:
    rows = load(
        tmp_path,
        {
            "toy/test-00001-of-00002.parquet": parquet(TOY_ROWS[2:]),
            "toy/test-00000-of-00002.parquet": parquet(TOY_ROWS[:2]),
            "toy/testing.jsonl": b"not asked for",
        },
    )
    assert [row["q"] for row in rows.rows] == [row["q"] for row in TOY_ROWS]
    assert rows.source == "folder toy/test-00000-of-00002.parquet and 1 more"
    assert rows.place(1) == "toy/test-00000-of-00002.parquet, row 2"
    assert rows.place(2) == "toy/test-00001-of-00002.parquet, row 1"


def test_a_place_is_file_and_line_counted_from_one(tmp_path: Path) -> None:
    rows = load(tmp_path, {"toy/test.jsonl": jsonl(TOY_ROWS)})
    assert rows.place(0) == "toy/test.jsonl, line 1"
    for outside in (-1, 3):
        with pytest.raises(IndexError, match=f"no row {outside}: there are 3"):
            rows.place(outside)


def test_the_hash_sees_each_value_and_the_order_but_not_the_order_of_fields(tmp_path: Path) -> None:
    def digest(name: str, rows: object) -> str:
        return load(tmp_path / name, {"toy/test.jsonl": jsonl(rows)}).sha256

    plain = digest("plain", TOY_ROWS)
    assert digest("turned", [dict(reversed(row.items())) for row in TOY_ROWS]) == plain
    assert digest("other", [{**TOY_ROWS[0], "n": 2}, *TOY_ROWS[1:]]) != plain
    assert digest("reversed", TOY_ROWS[::-1]) != plain


def test_what_parquet_holds_and_json_cannot_is_hashed_too(tmp_path: Path) -> None:
    def digest(name: str, day: int) -> str:
        rows = [{"q": b"raw", "a": datetime.date(2020, 1, day)}]
        return load(tmp_path / name, {"toy/test.parquet": parquet(rows)}).sha256

    assert digest("one", 1) == digest("same", 1) != digest("other", 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'{"q": 1, "a": 2}\n{"q": 1, "a": \n',
            r"toy/test\.jsonl, line 2 is not JSON: Expecting value at column 14",
        ),
        (b'{"q": 1, "a": 2}\n\n{"q": 1, "a": 2}\n', r"toy/test\.jsonl, line 2 is not JSON"),
        (b'{"q": 1, "a": 2}\n[1, 2]\n', r"toy/test\.jsonl, line 2 is not a JSON object"),
        (b'{"q": 1, "a": 2}\n{"q": "\xff"}\n', r"toy/test\.jsonl, line 2 is not UTF-8, from byte 7 on"),
        (b'{"q": 1, "a": 2}\n{"q": 1, "b": 2}\n', r"toy/test\.jsonl, line 2 has no a; it has q, b"),
        (b'{"b": 1}\n', r"toy/test\.jsonl, line 1 has no q and no a; it has b"),
        (b"", r"toy/test\.jsonl holds no rows"),
        (b"\n\n", r"toy/test\.jsonl holds no rows"),
    ],
)
def test_damaged_lines_are_named_with_file_line_and_fault(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, {"toy/test.jsonl": data})


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy/test\.parquet is not Parquet, is damaged, or holds what"):
        load(tmp_path, {"toy/test.parquet": parquet(TOY_ROWS)[:-20]})


def test_parquet_that_python_cannot_say_is_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    from pyarrow import parquet as files

    # the year of this moment is beyond Python's last
    columns = {"q": ["x"], "a": pa.array([2**60], type=pa.timestamp("ms"))}
    for table, message in (
        (pa.table(columns), r"toy/test\.parquet .* holds what Python cannot: "),
        (pa.table([["x"], ["y"]], names=["q", "q"]), r"toy/test\.parquet has two columns of one name"),
    ):
        out = BytesIO()
        files.write_table(table, out)
        with pytest.raises(DataError, match=message):
            load(tmp_path, {"toy/test.parquet": out.getvalue()})


def test_a_missing_field_in_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy/test\.parquet, row 1 has no a; it has q"):
        load(tmp_path, {"toy/test.parquet": parquet([{"q": "x"}])})


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"toy/test.parquet": parquet(TOY_ROWS)}
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pyarrow, which reads toy/test\.parquet, .*'slmeval\[data\]'"):
        load(tmp_path, files)


def test_a_missing_split_names_the_folder_the_files_there_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, {"toy/train.jsonl": jsonl(TOY_ROWS), "toy/notes.txt": b""})
    message = str(caught.value)
    assert f"no rows of toy/test in {tmp_path}: there is toy/notes.txt, toy/train.jsonl." in message
    assert "Put toy/test.jsonl or .parquet there, or leave out --data to use the hub" in message


def test_a_missing_data_set_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is gsm8k, piqa"):
        load(tmp_path, {"piqa/test.jsonl": b"", "gsm8k/test.jsonl": b""})


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder or archive .*nowhere: --data takes a folder"):
        open_folder(tmp_path / "nowhere")


def test_two_forms_of_one_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy has both test\.jsonl and test\.parquet: leave only one"):
        load(tmp_path, {"toy/test.jsonl": jsonl(TOY_ROWS), "toy/test.parquet": parquet(TOY_ROWS)})


@pytest.mark.parametrize(
    "names",
    [
        ["test-00000-of-00002.parquet"],
        ["test-00001-of-00002.parquet"],
        ["test-00000-of-00001-aa.parquet", "test-00000-of-00001-bb.parquet"],
    ],
)
def test_parts_that_are_missing_or_doubled_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match=r"which are not all \d parts of test, each once"):
        load(tmp_path, {f"toy/{name}": parquet(TOY_ROWS) for name in names})


def test_few_shot_rows_stand_in_for_a_train_split_that_is_absent_and_it_is_said(tmp_path: Path) -> None:
    files = {"toy/test.jsonl": jsonl(TOY_ROWS[:2]), "toy/fewshot.jsonl": jsonl(TOY_ROWS[2:])}
    rows = load(tmp_path, files, "train")
    assert rows.rows == TOY_ROWS[2:]
    assert rows.source == "folder toy/fewshot.jsonl in place of train"
    assert rows.place(0) == "toy/fewshot.jsonl, line 1"


def test_few_shot_rows_stand_in_for_nothing_else(tmp_path: Path) -> None:
    files = {"toy/fewshot.jsonl": jsonl(TOY_ROWS[2:]), "toy/train.jsonl": jsonl(TOY_ROWS[:1])}
    assert load(tmp_path, files, "train").source == "folder toy/train.jsonl"
    with pytest.raises(DataError, match="no rows of toy/test"):
        load(tmp_path, files, "test")
    same = DatasetSpec("toy", "test", ("q",), shots="test")
    with pytest.raises(DataError, match="no rows of toy/test"):
        load(tmp_path, files, "test", same)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real rows of ../shared/data are not here")
@pytest.mark.parametrize(
    "task", [ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA, GSM8K], ids=lambda task: task.name
)
def test_real_rows_hold_the_fields_that_the_tasks_need(task: object) -> None:
    source = open_folder(SHARED)
    rows = source.load(task.dataset, task.dataset.evaluation)
    pool = source.load(task.dataset, task.dataset.shots)
    assert (len(rows.rows), len(pool.rows)) == (300, 60)
    for row in rows.rows:
        assert task.sample(row, pool.rows[:2]).requests


# ---- the sample ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task", [ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA, GSM8K], ids=lambda task: task.name
)
def test_bundled_rows_make_questions_and_are_never_more_than_a_sample(task: object) -> None:
    rows = open_sample().load(task.dataset, task.dataset.evaluation)
    pool = open_sample().load(task.dataset, task.dataset.shots)
    assert rows.source == f"sample {task.name}/{task.dataset.evaluation}.jsonl"
    assert 32 <= len(rows.rows) <= 64 < task.dataset.rows
    assert not any(row in pool.rows for row in rows.rows)
    for row in rows.rows:
        assert task.sample(row, pool.rows[:5]).requests


def test_a_data_set_that_is_not_bundled_names_those_that_are() -> None:
    unknown = DatasetSpec("no_such_set", "test", ())
    with pytest.raises(
        DataError, match=r"no bundled rows for no_such_set/test; bundled: .*--data DIR or --model"
    ):
        open_sample().load(unknown, "test")


# ---- a small hub -----------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    pytest.importorskip("huggingface_hub", minversion="1.3", reason="the extra `data` is not installed")
    constants = pytest.importorskip("huggingface_hub.constants")
    # the library may have been imported with the network switched off
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield SmallHub({})
    sys.modules["huggingface_hub"].close_session()


@pytest.fixture
def endpoint(hub: SmallHub) -> Iterator[str]:
    with serving(hub) as address:
        yield address


def toy(**changes: object) -> DatasetSpec:
    values = {
        "name": "toy",
        "evaluation": "test",
        "fields": ("q", "a"),
        "shots": "train",
        "hub": "someone/toy",
    }
    return DatasetSpec(**{**values, **changes})


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("main", "main/test-00000-of-00001.parquet"),
        ("main", "data/main/test.parquet"),
        ("main", "main/test.jsonl"),
        (None, "data/test-00000-of-00001-0123456789abcdef.parquet"),
        (None, "test.jsonl"),
        (None, "default/test.parquet"),
    ],
)
def test_the_hub_is_read_where_owners_put_their_files(
    hub: SmallHub, endpoint: str, tmp_path: Path, config: str | None, path: str
) -> None:
    data = jsonl(TOY_ROWS) if path.endswith(".jsonl") else parquet(TOY_ROWS)
    others = {"README.md": b"a card", "other/test.jsonl": b"damaged", "main/train.jsonl": b"damaged"}
    hub.repositories["someone/toy"] = {"main": {path: data, **others}}
    rows = open_hub(endpoint, tmp_path).load(toy(config=config), "test")
    assert rows.rows == TOY_ROWS
    assert rows.source == f"hub someone/toy/{path} at {hub.commit('someone/toy', 'main')[:12]}"
    assert rows.place(0) == f"someone/toy/{path}, {'line' if path.endswith('.jsonl') else 'row'} 1"
    fetched = {
        request.split("/resolve/")[1].split("/", 1)[1] for request in hub.asked if "GET /datasets/" in request
    }
    assert fetched == {path, "README.md"}


def test_parts_on_the_hub_are_joined(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    parts = {f"main/test-0000{n}-of-00003.parquet": parquet(TOY_ROWS[n : n + 1]) for n in range(3)}
    hub.repositories["someone/toy"] = {"main": parts}
    rows = open_hub(endpoint, tmp_path).load(TOY, "test")
    assert [row["q"] for row in rows.rows] == [row["q"] for row in TOY_ROWS]


@pytest.mark.parametrize("config", ["main", None])
def test_other_formats_are_read_through_the_conversion_of_the_hub(
    hub: SmallHub, endpoint: str, tmp_path: Path, config: str | None
) -> None:
    hub.repositories["someone/toy"] = {
        "main": {"README.md": b"a card", "toy.py": b"a loading script"},
        "refs/convert/parquet": {"main/test/0000.parquet": parquet(TOY_ROWS), "main/train/0000.parquet": b""},
    }
    rows = open_hub(endpoint, tmp_path).load(toy(config=config), "test")
    assert rows.rows == TOY_ROWS
    commit = hub.commit("someone/toy", "refs/convert/parquet")
    assert rows.source == f"hub someone/toy/main/test/0000.parquet at {commit[:12]}"


def test_several_configurations_without_a_choice_are_refused(
    hub: SmallHub, endpoint: str, tmp_path: Path
) -> None:
    converted = {f"{name}/test/0000.parquet": parquet(TOY_ROWS) for name in ("easy", "hard")}
    hub.repositories["someone/toy"] = {"main": {"README.md": b""}, "refs/convert/parquet": converted}
    with pytest.raises(DataError, match="it has 2 configurations with that split, where one is needed"):
        open_hub(endpoint, tmp_path).load(toy(), "test")


def test_what_was_fetched_once_is_read_again_when_the_hub_is_gone(
    hub: SmallHub, endpoint: str, tmp_path: Path
) -> None:
    files = {"README.md": b"", "main/test.jsonl": jsonl(TOY_ROWS), "main/train.jsonl": jsonl(TOY_ROWS[:1])}
    hub.repositories["someone/toy"] = {"main": files}
    first = open_hub(endpoint, tmp_path).load(TOY, "test")
    gone = open_hub("http://127.0.0.1:9", tmp_path)
    assert gone.load(TOY, "test") == first
    with pytest.raises(DataError, match="toy/train could not be had from the hub"):
        gone.load(TOY, "train")


def three_ways_out(error: BaseException) -> bool:
    ways = ("--data DIR with toy/test.jsonl", "slmeval data pull toy where the hub is in reach", "--sample")
    return all(way in str(error) for way in ways)


def test_an_unreachable_hub_names_the_three_ways_out(hub: SmallHub, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not be had from the hub \(someone/toy\): ") as caught:
        open_hub("http://127.0.0.1:9", tmp_path).load(TOY, "test")
    assert three_ways_out(caught.value)


def test_a_hub_that_hangs_up_names_the_three_ways_out(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    hub.hangs_up = True
    with pytest.raises(DataError, match="disconnected without sending a response") as caught:
        open_hub(endpoint, tmp_path).load(TOY, "test")
    assert three_ways_out(caught.value)


def test_a_switched_off_network_names_the_three_ways_out(
    hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="offline mode is enabled") as caught:
        open_hub(None, tmp_path).load(TOY, "test")
    assert three_ways_out(caught.value)


def test_a_data_set_that_the_hub_does_not_know_says_so(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such data set, or it is private") as caught:
        open_hub(endpoint, tmp_path).load(TOY, "test")
    assert three_ways_out(caught.value)


def test_a_gated_data_set_says_so(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    hub.refused = frozenset({"someone/toy"})
    with pytest.raises(DataError, match="its owner wants to be asked for access first"):
        open_hub(endpoint, tmp_path).load(TOY, "test")


def test_a_split_that_the_hub_does_not_have_says_so(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    hub.repositories["someone/toy"] = {"main": {"README.md": b"", "main/train.jsonl": jsonl(TOY_ROWS)}}
    with pytest.raises(DataError, match="no file of that split in a known place, and no Parquet conversion"):
        open_hub(endpoint, tmp_path).load(TOY, "test")


def test_a_data_set_without_a_place_on_the_hub_says_so() -> None:
    with pytest.raises(DataError, match="mine is not on the hub: give its rows with --data DIR"):
        open_hub().load(DatasetSpec("mine", "test", ()), "test")


def test_the_hub_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        MissingExtra, match=r"huggingface_hub, .* is not installed: pip install 'slmeval\[data\]'"
    ):
        open_hub().load(TOY, "test")


def test_an_older_hub_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("huggingface_hub", reason="the extra `data` is not installed")
    monkeypatch.setattr(library, "__version__", "0.36.2")
    with pytest.raises(MissingExtra, match=r"huggingface_hub, .* is 0\.36\.2, too old: pip install"):
        open_hub().load(TOY, "test")


def test_the_hub_is_the_one_that_the_environment_names(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    hub.repositories["someone/toy"] = {"main": {"README.md": b"", "main/test.jsonl": jsonl(TOY_ROWS)}}
    program = (
        "from slmeval.hub_rows import open_hub; from slmeval.types import DatasetSpec; "
        "spec = DatasetSpec('toy', 'test', ('q', 'a'), hub='someone/toy', config='main'); "
        "print(open_hub().load(spec, 'test').sha256)"
    )
    environment = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.strip() == open_hub(endpoint, tmp_path / "other").load(TOY, "test").sha256


# ---- what rows were when they were first fetched ---------------------------------------------------


def test_the_first_use_is_recorded_and_required_afterwards(
    hub: SmallHub, endpoint: str, tmp_path: Path
) -> None:
    files = {"README.md": b"", "main/test.jsonl": jsonl(TOY_ROWS), "main/train.jsonl": jsonl(TOY_ROWS[:1])}
    hub.repositories["someone/toy"] = {"main": files}
    pins = Pins(tmp_path / "new" / "pins.json")
    first = open_hub(endpoint, tmp_path, PinRules(pins)).load(TOY, "test")
    pin = pins.find(Key("someone/toy", "main", "test"))
    assert pin is not None
    commit = hub.commit("someone/toy", "main")
    assert (pin.sha256, pin.rows, pin.commit, pin.revision) == (first.sha256, 3, commit, None)
    # an edit that leaves the rows as they are is none
    hub.change(
        "someone/toy", {**files, "README.md": b"more words", "main/test.jsonl": jsonl(TOY_ROWS) + b"\n"}
    )
    again = open_hub(endpoint, tmp_path, PinRules(pins)).load(TOY, "test")
    assert again.sha256 == first.sha256
    assert pins.find(Key("someone/toy", "main", "test")) == pin
    hub.change("someone/toy", {**files, "main/test.jsonl": jsonl(TOY_ROWS[:2])})
    with pytest.raises(
        DataError, match=r"toy/test on the hub \(someone/toy\) is not what it was: its 2 rows"
    ):
        open_hub(endpoint, tmp_path, PinRules(pins)).load(TOY, "test")
    # without pins nothing is required
    assert len(open_hub(endpoint, tmp_path).load(TOY, "test").rows) == 2


def test_a_part_of_a_data_set_is_held_against_the_whole(hub: SmallHub, endpoint: str, tmp_path: Path) -> None:
    hub.repositories["someone/toy"] = {"main": {"README.md": b"", "main/test.jsonl": jsonl(TOY_ROWS)}}
    pins = Pins(tmp_path / "pins.json")
    part = replace(TOY, where=("q", ""))
    source = open_hub(endpoint, tmp_path, PinRules(pins))
    assert len(source.load(part, "test").rows) == 1
    assert source.published(part, "test").startswith("hub someone/toy/main/test.jsonl at ")
    pin = pins.find(Key("someone/toy", "main", "test"))
    assert pin is not None
    assert (pin.rows, pin.sha256) == (3, source.load(TOY, "test").sha256)


def test_the_environment_names_the_file_of_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMEVAL_PINS", "mine.json")
    assert default_path() == Path("mine.json").absolute()
    monkeypatch.delenv("SLMEVAL_PINS")
    assert default_path().name == "pins.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", r"is not of the schema slmeval\.pins/1"),
        ('{"schema": "slmeval.pins/1", "pins": {}}', "holds what is no pin"),
        ('{"schema": "slmeval.pins/2", "pins": []}', r"is not of the schema slmeval\.pins/1"),
        ('{"schema": "slmeval.pins/1", "pins": [{}]}', "holds what is no pin"),
        ('{"schema": "slmeval.pins/1", "pins": 3}', "holds what is no pin"),
        ('{"schema": "slmeval.pins/1"}', "holds what is no pin"),
    ],
)
def test_damaged_pins_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pins.json").write_text(text)
    with pytest.raises(DataError, match=rf"pins\.json {message}.*move it away"):
        Pins(tmp_path / "pins.json").find(Key("a", "", "test"))


def test_pins_of_many_at_once_are_all_kept(tmp_path: Path) -> None:
    pytest.importorskip("filelock")
    program = (
        "import sys; from pathlib import Path; from slmeval.pins import Key, Pin, Pins; import filelock\n"
        "while not Path('go').exists(): pass\n"
        "for number in range(40):\n"
        "    Pins(Path('pins.json')).keep(Key(sys.argv[1], '', str(number)), Pin('a', 1, 'b', 'c'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    started = [
        subprocess.Popen([sys.executable, "-c", program, name], cwd=tmp_path, env=environment)
        for name in "abc"
    ]
    (tmp_path / "go").touch()
    assert [process.wait(300) for process in started] == [0, 0, 0]
    pins = Pins(tmp_path / "pins.json")
    assert all(pins.find(Key(name, "", str(number))) for name in "abc" for number in range(40))
    assert {path.name for path in tmp_path.iterdir()} - {"pins.json.lock"} == {"pins.json", "go"}


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_pins_behind_a_link_stay_behind_it(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "pins.json").symlink_to(tmp_path / "project" / "pins.json")
    for split in ("test", "train"):
        Pins(tmp_path / "pins.json").keep(Key("someone/toy", "", split), Pin("0" * 64, 1, "c", "2026-01-01"))
    assert (tmp_path / "pins.json").is_symlink()
    assert len(json.loads((tmp_path / "project" / "pins.json").read_text())["pins"]) == 2


def test_pins_on_a_disk_that_is_full_are_one_sentence_and_stay_what_they_were(small_disk: Path) -> None:
    pins, pin = Pins(small_disk / "pins.json"), Pin("0" * 64, 1, "c", "2026-01-01")
    pins.keep(Key("someone/toy", "", "test"), pin)
    with (small_disk / "fill").open("wb", buffering=0) as fill, suppress(OSError):
        while fill.write(bytes(4096)):
            pass
    with pytest.raises(DataError, match=r"pins\.json cannot be written \(No space left on device\)"):
        pins.keep(Key("someone/toy", "", "train"), pin)
    assert pins.find(Key("someone/toy", "", "test")) == pin
    assert not list(small_disk.glob("pins.json.[0-9]*"))


def test_pins_that_are_no_file_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file of pins: SLMEVAL_PINS names another"):
        Pins(tmp_path).find(Key("someone/toy", "", "test"))


def test_a_hub_that_says_nothing_is_not_waited_for_without_end(
    hub: SmallHub, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval.hub_library.TIMEOUT", 0.2)
    hub.mute = True
    with pytest.raises(DataError, match=r"could not be had from the hub .*timed out"):
        open_hub(endpoint, tmp_path).load(toy(), "test")


def test_pins_that_cannot_be_written_are_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("filelock")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*SLMEVAL_PINS names another file"):
        Pins(tmp_path / "file" / "pins.json").keep(Key("a", "", "test"), Pin("a", 1, "b", "c"))


def test_no_library_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, slmeval.questions; print(sorted({'pyarrow', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "toy/test.jsonl, line 1 is nested too deeply"),
        (b'{"q": ' + b"9" * 5000 + b"}", "toy/test.jsonl, line 1 holds a whole number of more digits"),
    ],
)
def test_what_python_itself_does_not_read_is_one_sentence(tmp_path: Path, line: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, {"toy/test.jsonl": line})
