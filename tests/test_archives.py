"""Archives of rows: what is written is what is read, and whatever is wrong with one is one sentence."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from slmeval import manifests
from slmeval.archives import Content, archive_hash, content, open_archive, verify, write_archive, write_folder
from slmeval.cli import run
from slmeval.datasets import DataSource, Rows, made_rows, open_folder, open_sample
from slmeval.errors import DataError
from slmeval.licences import passing_on
from slmeval.questions import draft, open_source
from slmeval.reads import named_tasks, reads
from slmeval.registry import load
from slmeval.types import DatasetSpec, RunOptions

PARTS = load().parts
TOY = DatasetSpec("toy", "test", ("q",), shots="train", licence="MIT", source="someone, 2020")
TOY_ROWS = (
    {"q": " two spaces  kept ", "a": {"text": ["x", "y\u2028z"], "label": ["A", "B"]}, "n": 1},
    {"q": "Größe?", "a": {"text": ["ß", "🙂"], "label": ["1", "2"]}, "n": 0.1},
    {"q": "half a pair \ud83d", "a": {"text": [], "label": []}, "n": None},
    {"q": "large", "a": {"z": -0.0, "b": 10**30}, "n": True},
)
HUB = "hub someone/toy/test.parquet at 0123456789ab"


def packed(rows: object = TOY_ROWS, split: str = "test", published: str = "", name: str = "toy") -> Content:
    return content(
        replace(TOY, name=name), split, made_rows(rows, "folder toy/test.jsonl", "toy/test"), published
    )


def archive(path: Path, *contents: Content) -> Path:
    write_archive(path, contents or (packed(), packed(TOY_ROWS[:1], "train")), manifests.FREE)
    return path


# ---- written and read ------------------------------------------------------------------------------


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = open_archive(archive(tmp_path / "rows.zip")).load(TOY, "test")
    assert rows.rows == TOY_ROWS
    assert [list(row) for row in rows.rows] == [list(row) for row in TOY_ROWS]
    assert rows.sha256 == made_rows(TOY_ROWS, "", "").sha256
    assert rows.source == "archive toy/test.jsonl"
    assert rows.place(1) == "toy/test.jsonl, line 2"


def test_equal_rows_make_equal_bytes(tmp_path: Path) -> None:
    one, same = archive(tmp_path / "one.zip"), archive(tmp_path / "same.zip")
    other = archive(tmp_path / "other.zip", packed(TOY_ROWS[1:]))
    assert one.read_bytes() == same.read_bytes()
    assert archive_hash(one) == hashlib.sha256(one.read_bytes()).hexdigest() != archive_hash(other)
    # its bytes are a promise: whoever changes them changes every hash that was written down
    assert archive_hash(one) == EXPECTED


#: of the archive of the toy's rows
EXPECTED = "063cda829812a32eaab7ca0143a90be1fffe68f54a782891b6c204b464894a6d"


def test_any_unzip_reads_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path / "rows.zip")) as opened:
        assert opened.namelist() == ["toy/test.jsonl", "toy/train.jsonl", "manifest.json"]
        assert opened.testzip() is None
        manifest = json.loads(opened.read("manifest.json"))
        data = opened.read("toy/test.jsonl")
    assert (manifest["schema"], manifest["passing_on"]) == ("slmeval.data/1", manifests.FREE)
    assert manifest["files"][0] == {
        "dataset": "toy",
        "split": "test",
        "rows": 4,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "rows_sha256": made_rows(TOY_ROWS, "", "").sha256,
        "source": "folder toy/test.jsonl",
        "origin": "someone, 2020",
        "licence": "MIT",
        "passing_on": "may be passed on with its licence text",
    }


def test_rows_of_the_hub_stay_published_and_those_of_a_user_do_not(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.zip", packed(published=HUB), packed(TOY_ROWS[:1], "train"))
    source = open_archive(path)
    assert source.published(TOY, "test") == HUB
    assert source.published(TOY, "train") == source.published(TOY, "validation") == ""
    assert source.load(TOY, "test").source == f"archive toy/test.jsonl, from the {HUB}"


def test_few_shot_rows_stand_in_in_an_archive_too(tmp_path: Path) -> None:
    source = open_archive(archive(tmp_path / "rows.zip", packed(), packed(TOY_ROWS[:1], "fewshot")))
    assert source.holds(TOY, "train")
    assert source.load(TOY, "train").source == "archive toy/fewshot.jsonl in place of train"
    assert not source.holds(replace(TOY, shots=None), "train")


def test_rows_that_are_not_there_are_named_with_those_that_are(tmp_path: Path) -> None:
    source = open_archive(archive(tmp_path / "rows.zip"))
    assert not source.holds(TOY, "validation")
    with pytest.raises(DataError, match=r"no rows of toy/validation in .*rows\.zip, which holds toy/"):
        source.load(TOY, "validation")
    with pytest.raises(DataError, match=r"toy/test\.jsonl, line 1 has no z; it has q, a, n"):
        source.load(replace(TOY, fields=("z",)), "test")


@pytest.mark.parametrize(
    "value",
    [b"bytes", datetime.date(2020, 1, 1), float("nan"), float("inf"), (1, 2), {1: "a"}, {"a": {2}}],
    ids=repr,
)
def test_what_json_cannot_say_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(DataError, match=r"toy/test, row 2 cannot be written as JSON: "):
        packed([{"q": "x"}, {"q": "y", "v": value}])


def test_parquet_is_packed_where_json_can_say_it(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    from pyarrow import parquet

    (tmp_path / "toy").mkdir()
    for split, value in (("test", "text"), ("train", b"bytes")):
        parquet.write_table(
            pa.Table.from_pylist([{"q": value, "a": {"n": [1, None, 0.1]}}]),
            tmp_path / f"toy/{split}.parquet",
        )
    source = open_folder(tmp_path)
    found = source.load(TOY, "test")
    path = archive(tmp_path / "rows.zip", content(TOY, "test", found, ""))
    assert open_archive(path).load(TOY, "test").rows == found.rows
    with pytest.raises(
        DataError, match=r"toy/train\.parquet, row 1 cannot be written as JSON: Object of type by"
    ):
        content(TOY, "train", source.load(TOY, "train"), "")


def test_the_system_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr("zipfile.sys.platform", "win32")
        path = archive(tmp_path / "rows.zip")
    assert archive_hash(path) == EXPECTED


@pytest.mark.parametrize("name", ["../toy", "a/b", "", ".hidden", "c:d", "nul\0", "a\\b", "a..b", "x "])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot be the name of a folder of rows"):
        packed(name=name)


def test_an_archive_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.zip")
    before = path.read_bytes()

    def broken() -> object:
        yield packed()
        packed([{"q": b"bytes"}])

    with pytest.raises(DataError, match="cannot be written as JSON"):
        write_archive(path, broken(), manifests.FREE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"rows\.zip cannot be written: "):
        archive(tmp_path / "nowhere" / "rows.zip")


def test_a_disk_that_is_full_is_one_sentence(small_disk: Path) -> None:
    rows = [{"q": "x" * 1000}] * 2000
    with pytest.raises(DataError, match=r"rows\.zip cannot be written: No space left"):
        archive(small_disk / "rows.zip", packed(rows))
    assert list(small_disk.iterdir()) == []


# ---- damaged archives --------------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = 0) -> Path:
    """The archive with other entries."""
    with zipfile.ZipFile(path) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return path


def listed(entries: dict[str, bytes], **changes: object) -> None:
    """Other words in the manifest about its first file."""
    document = json.loads(entries["manifest.json"])
    document["files"][0] |= changes
    entries["manifest.json"] = json.dumps(document).encode()


def swapped(entries: dict[str, bytes]) -> None:
    entries["toy/test.jsonl"] = entries["toy/test.jsonl"].replace(b"two", b"TWO")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, r"toy/test\.jsonl in .* was changed: its sha256 is \w{64}, and its manifest says \w{64}"),
        (
            lambda entries: entries.update({"toy/train.jsonl": b"{}\n"}),
            r"toy/train\.jsonl in .* has 3 bytes; its manifest says \d+",
        ),
        (
            lambda entries: entries.update({"../../evil.jsonl": b"{}"}),
            r"\.\./\.\./evil\.jsonl in .* is not in its manifest",
        ),
        (
            lambda entries: entries.update({"toy/more.jsonl": b"{}"}),
            r"toy/more\.jsonl in .* is not in ",
        ),
        (
            lambda entries: entries.pop("toy/train.jsonl"),
            r"toy/train\.jsonl is not in .*, though",
        ),
        (
            lambda entries: entries.pop("manifest.json"),
            r"has no manifest\.json: it is no archive",
        ),
        (
            lambda entries: entries.update({"manifest.json": b"{"}),
            r"manifest\.json in .* is not JSON: it",
        ),
        (lambda entries: entries.update({"manifest.json": b"[]"}), r"is not of the schema slmeval\.data/1"),
        (
            lambda entries: listed(entries, dataset=".."),
            r"file 1 is named '\.\./test\.jsonl', which",
        ),
        (
            lambda entries: listed(entries, split="a/b"),
            r"file 1 is named 'toy/a/b\.jsonl', which",
        ),
        (lambda entries: listed(entries, rows="4"), r"manifest\.json in .*, file 1: rows is '4'"),
        (lambda entries: listed(entries, bytes=True), r"file 1: bytes is True"),
        (
            lambda entries: listed(entries, bytes=-1),
            r"file 1 \(toy/test\.jsonl\) has sizes or hashes",
        ),
        (
            lambda entries: listed(entries, sha256="x"),
            r"file 1 \(toy/test\.jsonl\) has sizes or hashes",
        ),
        (lambda entries: listed(entries, more=1), r"file 1 has not the fields dataset, split, rows"),
        (lambda entries: listed(entries, split="train"), r"manifest\.json in .* lists a file twice"),
        (lambda entries: listed(entries, rows=3), r"toy/test\.jsonl in .* has 4 rows; its manifest says 3"),
        (
            lambda entries: listed(entries, rows_sha256="0" * 64),
            r"the rows of toy/test\.jsonl in .* have sha256",
        ),
    ],
)
def test_what_is_wrong_with_an_archive_is_named(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    path = rewritten(archive(tmp_path / "rows.zip"), change)
    with pytest.raises(DataError, match=message) as caught:
        verify(path)
    assert "\n" not in str(caught.value)


def test_a_compressed_entry_is_refused_whatever_it_would_grow_to(tmp_path: Path) -> None:
    huge = packed([{"q": "0" * 10_000_000}])
    path = rewritten(archive(tmp_path / "rows.zip", huge), lambda _: None, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    for look in (open_archive, verify):
        with pytest.raises(DataError, match=r"manifest\.json in .* is compressed; slmeval"):
            look(path)


def test_entries_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    """The first is made to hold the second too, header and all: together they are more than the file."""
    first, second = packed(), replace_split(packed(), "until")
    data = archive(tmp_path / "rows.zip", first, second).read_bytes()
    start = data.index(first.data)
    both = data[start : data.index(second.data, start + len(first.data)) + len(second.data)]
    entry = replace(first.entry, bytes=len(both), sha256=hashlib.sha256(both).hexdigest())
    # the same places of all, with the sizes, sum and hash of both where those of the first stood
    told = archive(tmp_path / "told.zip", Content(entry, first.data), second).read_bytes()
    sums = [struct.pack("<3I", zlib.crc32(each), len(each), len(each)) for each in (first.data, both)]
    (tmp_path / "over.zip").write_bytes(told.replace(sums[0], sums[1], 1)[: told.index(b"PK\x01\x02")])
    with (tmp_path / "over.zip").open("ab") as out:
        out.write(told[told.index(b"PK\x01\x02") :].replace(sums[0], sums[1], 1))
    with pytest.raises(DataError, match=r"over\.zip claims to hold more bytes than it has"):
        verify(tmp_path / "over.zip")


def replace_split(given: Content, split: str) -> Content:
    return Content(replace(given.entry, split=split), given.data + b'{"q": 1}\n')


def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.zip")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as opened:
        opened.writestr("toy/test.jsonl", b"{}\n")
    with pytest.raises(DataError, match=r"has toy/test\.jsonl twice"):
        verify(path)


def test_an_archive_cut_anywhere_is_one_sentence(tmp_path: Path) -> None:
    whole = archive(tmp_path / "rows.zip").read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.zip is damaged, or is no archive that"):
            verify(tmp_path / "cut.zip")


def test_no_changed_byte_goes_unnoticed_where_it_matters(tmp_path: Path) -> None:
    """Whichever byte is another: the archive is refused, or it gives the same rows."""
    whole = archive(tmp_path / "rows.zip").read_bytes()
    for at in range(0, len(whole), 7):
        (tmp_path / "bad.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with suppress(DataError):
            verify(tmp_path / "bad.zip")
            assert open_archive(tmp_path / "bad.zip").load(TOY, "test").rows == TOY_ROWS


def test_bytes_that_no_file_has_are_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "rows.zip", packed()).read_bytes()
    with zipfile.ZipFile(tmp_path / "rows.zip", "a") as old:
        old.comment = b"bytes of another's"
    told = (tmp_path / "rows.zip").read_bytes()
    for changed in (b"more" + whole, whole + b"more", told):
        (tmp_path / "rows.zip").write_bytes(changed)
        with pytest.raises(DataError, match="that belong to no"):
            verify(tmp_path / "rows.zip")
    # between two entries, with a directory that knows of it
    with zipfile.ZipFile(tmp_path / "gap.zip", "w") as made, zipfile.ZipFile(BytesIO(whole)) as old:
        for at, name in enumerate(old.namelist()):
            if at:
                made.fp.write(b"between")  # type: ignore[union-attr]
                made.start_dir = made.fp.tell()  # type: ignore[attr-defined, union-attr]
            made.writestr(name, old.read(name))
    with pytest.raises(DataError, match=r"has bytes before manifest\.json that belong to no file"):
        verify(tmp_path / "gap.zip")


def test_what_is_no_file_is_not_written_over_and_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder is there, and is no file: name another"):
        archive(tmp_path / "folder", packed())
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="pipe is there, and is no file: name another"):
            archive(tmp_path / "pipe", packed())
        (tmp_path / "link.zip").symlink_to(tmp_path / "folder" / "rows.zip")
        archive(tmp_path / "link.zip", packed())
        assert (tmp_path / "link.zip").is_symlink()
        verify(tmp_path / "folder" / "rows.zip")
    assert not list(tmp_path.rglob(".*"))


def test_a_part_of_a_hash_is_no_hash(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.zip", packed())
    with pytest.raises(DataError, match=r"'0123456789ab' is no SHA-256, which has 64 digits"):
        verify(path, "0123456789ab")


def test_the_hash_of_the_whole_is_required_where_it_is_given(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.zip")
    digest = archive_hash(path)
    assert verify(path, digest.upper()).files.keys() == {"toy/test.jsonl", "toy/train.jsonl"}
    with pytest.raises(DataError, match=rf"rows\.zip is another: its sha256 is {digest}, not 00"):
        verify(path, "00" * 32)


def test_data_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": 1}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl is damaged, or is no archive that"):
        open_source(RunOptions(data=str(tmp_path / "rows.jsonl")), demo=False)
    with pytest.raises(
        DataError, match=r"there is no folder or archive .*nowhere.* or an archive that slmeval"
    ):
        open_source(RunOptions(data=str(tmp_path / "nowhere.zip")), demo=False)
    with pytest.raises(DataError, match="there is no archive or folder"):
        verify(tmp_path / "nowhere.zip")


# ---- a folder with its manifest ------------------------------------------------------------------------


def test_a_folder_is_checked_like_an_archive(tmp_path: Path) -> None:
    write_folder(tmp_path, [packed()])
    write_folder(tmp_path, [packed(TOY_ROWS[:1], "train")])
    assert list(verify(tmp_path).files) == ["toy/test.jsonl", "toy/train.jsonl"]
    (tmp_path / "toy" / "more.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"toy/more\.jsonl in .* is not in its manifest"):
        verify(tmp_path)
    (tmp_path / "toy" / "more.jsonl").unlink()
    (tmp_path / "toy" / "test.jsonl").write_bytes(packed().data.replace(b"two", b"TWO"))
    with pytest.raises(DataError, match=r"toy/test\.jsonl in .* was changed"):
        verify(tmp_path)
    (tmp_path / "toy" / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"toy/test\.jsonl is not in .*, though its manifest lists it"):
        verify(tmp_path)
    with pytest.raises(DataError, match="is a folder: --sha256 is that of an archive"):
        verify(tmp_path, "00")
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"has no manifest\.json: slmeval data pull --output writes one"):
        verify(tmp_path)


def test_two_pulls_into_one_folder_list_the_files_of_both(tmp_path: Path) -> None:
    def slow() -> Iterator[Content]:
        yield packed()
        write_folder(tmp_path, [packed(TOY_ROWS[:1], "train")])

    write_folder(tmp_path, slow())
    assert set(verify(tmp_path).files) == {"toy/test.jsonl", "toy/train.jsonl"}


def test_a_file_of_the_users_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    mine = tmp_path / "toy" / "test.jsonl"
    mine.write_text('{"q": "mine"}\n')
    with pytest.raises(DataError, match=r"test\.jsonl is there, and slmeval did not write it: move it away"):
        write_folder(tmp_path, [packed()])
    assert mine.read_text() == '{"q": "mine"}\n'
    mine.write_bytes(packed().data)
    write_folder(tmp_path, [packed()])
    # one that it wrote may be written anew
    write_folder(tmp_path, [packed(TOY_ROWS[1:])])
    assert len(open_folder(tmp_path).load(TOY, "test").rows) == 3


def test_a_folder_says_which_rows_are_the_hubs_until_they_are_changed(tmp_path: Path) -> None:
    write_folder(tmp_path, [packed(published=HUB)])
    assert open_folder(tmp_path).published(TOY, "test") == HUB
    (tmp_path / "toy" / "test.jsonl").write_bytes(packed(TOY_ROWS[1:]).data)
    assert open_folder(tmp_path).published(TOY, "test") == ""
    (tmp_path / "manifest.json").write_text("[of the user's]")
    assert open_folder(tmp_path).published(TOY, "test") == ""


def test_blemishes_of_published_rows_are_scored_from_an_archive_and_a_folder_too(tmp_path: Path) -> None:
    """PIQA has rows with two equal solutions: the published number counts them."""
    task = PARTS.tasks["piqa"]
    rows = made_rows([{"goal": "to rest", "sol1": "Sleep.", "sol2": "Sleep.", "label": 0}], "", "piqa/row")
    for name, published in (("mine", ""), ("hub", HUB)):
        made = content(task.dataset, "validation", rows, published)
        write_archive(tmp_path / f"{name}.zip", [made], manifests.FREE)
        write_folder(tmp_path / name, [made])
    for place in (tmp_path / "hub.zip", tmp_path / "hub"):
        options = RunOptions(data=str(place))
        found = draft(options, task, 0, PARTS, open_source(options, demo=False))
        assert found.counts == {"flawed": 1}
        assert found.data.sha256 == rows.sha256
    for place in (tmp_path / "mine.zip", tmp_path / "mine"):
        options = RunOptions(data=str(place))
        with pytest.raises(DataError, match="not a row of piqa"):
            draft(options, task, 0, PARTS, open_source(options, demo=False))


def test_a_demonstration_on_an_archive_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reads(named_tasks(["piqa"], PARTS), open_sample())
    made = [content(read.spec, read.split, read.rows, read.published) for read in found.found]
    write_archive(tmp_path / "rows.zip", made, manifests.FREE)
    command = ["run", "--backend", "reference", "--tasks", "piqa", "--limit", "2"]
    assert run([*command, "--data", str(tmp_path / "rows.zip"), "--store", str(tmp_path / "store.db")]) == 0
    assert "rows of an archive" in " ".join(capsys.readouterr().out.split())


# ---- what tasks read ---------------------------------------------------------------------------------


def test_what_is_read_is_each_file_once_and_whole() -> None:
    found = reads(named_tasks(["arc", "contamination_order_arc_easy"], PARTS), open_sample())
    names = [(read.spec.name, read.split) for read in found.found]
    expected = [(name, split) for name in ("arc_challenge", "arc_easy") for split in ("test", "train")]
    assert names == expected
    assert (found.making, found.failures) == ((), ())
    assert all(read.spec.licence == "CC BY-SA 4.0" for read in found.found)


def test_tasks_that_make_their_rows_are_told_apart(tmp_path: Path) -> None:
    found = reads(named_tasks(["icl_copy"], PARTS), open_folder(tmp_path))
    assert (found.found, found.making) == ((), ("icl_copy",))


class Borrowing:
    """A task that reads a file which says nothing of its licence, and has its examples from a package."""

    name = "borrowing"
    dataset = DatasetSpec("mine", "test", ("q",), shots="train", licence="CC BY 4.0", source="them, 2021")

    def load(self, source: DataSource, split: str) -> Rows:
        if split == "train":
            return made_rows(TOY_ROWS, "a package, shots.yaml", "shots.yaml")
        return source.load(DatasetSpec("theirs", split, ("q",)), split)


def test_a_file_without_a_licence_is_under_its_tasks_and_examples_from_elsewhere_are_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "test.jsonl").write_text('{"q": 1}\n')
    found = reads([Borrowing()], open_folder(tmp_path))
    (read,) = found.found
    assert (read.spec.name, read.spec.licence, read.spec.source) == ("theirs", "CC BY 4.0", "them, 2021")
    assert (found.making, found.elsewhere) == ((), {"borrowing": "a package, shots.yaml"})
    assert reads([Borrowing()], open_folder(tmp_path), shots=False).elsewhere == {}


def test_rows_of_a_part_are_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "mmlu").mkdir()
    tasks = named_tasks(["mmlu_anatomy", "mmlu_virology"], PARTS)
    lines = [
        json.dumps({"question": f"{name}?", "subject": name, "choices": [*"wxyz"], "answer": 1})
        for name in ("anatomy", "virology", "philosophy")
    ]
    for split in ("test", "dev"):
        (tmp_path / "mmlu" / f"{split}.jsonl").write_text("\n".join(lines))
    found = reads(tasks, open_folder(tmp_path))
    assert [(read.spec.name, read.split, len(read.rows.rows)) for read in found.found] == [
        ("mmlu", "dev", 3),
        ("mmlu", "test", 3),
    ]


# ---- licences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("licence", "word", "told"),
    [
        ("MIT", "allowed", "with its licence text"),
        ("mit", "allowed", "with its licence text"),
        ("Apache-2.0", "allowed", "with its licence text"),
        ("BSD-2-Clause", "allowed", "with its licence text"),
        ("AFL-3.0", "allowed", "with its licence text"),
        ("CC0-1.0", "allowed", "may be passed on"),
        ("CC BY", "conditions", "if its authors are named"),
        ("cc-by-4.0", "conditions", "if its authors are named"),
        ("CC BY-SA 4.0", "conditions", "if its authors are named, under the same licence"),
        ("CC BY-NC 3.0", "conditions", "if its authors are named, not for money"),
        ("CC BY-NC-SA 4.0", "conditions", "if its authors are named, not for money, under the same licence"),
        ("CC BY-ND 4.0", "conditions", "if its authors are named, unchanged"),
        ("CC BY-SA 3.0 and GFDL", "conditions", "under the same licence"),
        ("MIT, no redistribution", "forbidden", "may not be passed on"),
        ("not to be redistributed", "forbidden", "may not be passed on"),
        ("All rights reserved", "forbidden", "may not be passed on"),
        ("MIT and unknown", "unknown", "not known"),
        ("unknown", "unknown", "its licence is not known"),
        ("", "unknown", "its licence is not known"),
        ("Mitre 7", "unknown", "licence 'Mitre 7'"),
        ("for research", "unknown", "licence 'for research'"),
    ],
)
def test_what_a_licence_says_of_passing_on(licence: str, word: str, told: str) -> None:
    found = passing_on(licence)
    assert found.word == word
    assert told in found.told
    assert found.free is (word in ("allowed", "conditions"))


def test_every_licence_of_our_tasks_is_understood_or_known_to_be_unknown() -> None:
    licences = {task.dataset.licence for task in PARTS.tasks.values()}
    assert {licence for licence in licences if passing_on(licence).word == "unknown"} == {"unknown"}
    assert len(licences) > 5
