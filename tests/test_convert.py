"""``slmeval convert``: made once, kept with its origin, told in one sentence where it cannot be made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from random_models import TINY_LLAMA, write_model
from test_tokenizing import words

from slmeval.api import Converter
from slmeval.conversions import choose, convert, copied, origin_of
from slmeval.errors import ModelError, UnknownName
from slmeval.gguf_file import read_gguf
from slmeval.models import RECORD, FoundModel, find_model, parse_model
from slmeval.store import Store
from slmeval.types import ModelRef

DEMO = ROOT / "slmeval" / "demo" / "model.gguf"

FileHash = Callable[[Path], str]


class Copier(Converter):
    """Copies a folder, and fails where it is told to."""

    name = "copier"
    forms = ("same", "half", "nowhere")
    made = 0

    @classmethod
    def version(cls) -> str:
        return "copier 1"

    def convert(self, model: ModelRef, form: str, folder: str) -> ModelRef:
        Copier.made += 1
        target = Path(folder) / "copy"
        if form == "half":
            target.mkdir()
            (target / "config.json").write_text("{}")
            raise ModelError("half of it is written")
        if form == "nowhere":
            raise OSError(28, "No space left on device", str(target))
        shutil.copytree(model.location, target)
        return ModelRef(str(target))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return words(write_model(tmp_path / "model", TINY_LLAMA), bos=False)


@pytest.fixture
def file_hash(tmp_path: Path) -> Iterator[FileHash]:
    with Store.open(tmp_path / "hashes.db") as store:
        yield store.file_hash


def test_what_was_made_once_is_kept_with_its_origin(model: Path, tmp_path: Path, file_hash: FileHash) -> None:
    source, before = find_model(parse_model(str(model)), file_hash), Copier.made
    first = convert(source, Copier, "same", file_hash, tmp_path / "cache")
    again = convert(source, Copier, "same", file_hash, tmp_path / "cache")
    assert (first.fresh, again.fresh) == (True, False)
    assert Copier.made == before + 1
    assert first.place == again.place
    assert (first.place / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert not list((tmp_path / "cache" / "converted").glob("unfinished-*"))
    assert again.origin.source_sha256 == source.sha256
    assert again.origin.sentence().startswith("made by slmeval convert as copier:same (copier 1) from ")


def test_another_model_is_made_anew(model: Path, tmp_path: Path, file_hash: FileHash) -> None:
    one = convert(find_model(parse_model(str(model)), file_hash), Copier, "same", file_hash, tmp_path / "c")
    (model / "generation_config.json").write_text("{}")
    other = convert(find_model(parse_model(str(model)), file_hash), Copier, "same", file_hash, tmp_path / "c")
    assert one.place != other.place


@pytest.mark.parametrize(
    ("form", "told"), [("half", "half of it is written"), ("nowhere", "No space left on device")]
)
def test_nothing_is_kept_of_a_conversion_that_failed(
    model: Path, tmp_path: Path, file_hash: FileHash, form: str, told: str
) -> None:
    source = find_model(parse_model(str(model)), file_hash)
    with pytest.raises(ModelError, match=told):
        convert(source, Copier, form, file_hash, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "converted").iterdir())


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("copyer:same", "did you mean 'copier'"),
        ("copier:sane", "did you mean 'same'"),
        ("copier", "unknown form of converter 'copier'"),
    ],
)
def test_a_misspelt_form_is_told(wish: str, told: str) -> None:
    with pytest.raises(UnknownName, match=re.escape(told)):
        choose(wish, {"copier": Copier})


# ---- llama.cpp -----------------------------------------------------------------------------------------


def run(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SLMEVAL_STORE": str(home / "store.db"),
        "SLMEVAL_CACHE": str(home / "cache"),
        **more,
    }
    command = [sys.executable, "-m", "slmeval", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def engine() -> None:
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")


@pytest.mark.usefixtures("engine")
def test_a_quantized_file_is_printed_used_and_known(tmp_path: Path, file_hash: FileHash) -> None:
    made = run("convert", "demo", "llamacpp:Q4_K_M", home=tmp_path)
    assert made.returncode == 0, made.stderr
    place = Path(made.stdout.strip())
    assert read_gguf(place).quantization == "Q4_K_M"
    assert 4.5 < read_gguf(place).bits_per_weight < 5.5
    assert run("convert", "demo", "llamacpp:Q4_K_M", home=tmp_path).stderr.startswith("made before: ")
    kept = tmp_path / "kept"
    copied = run("convert", str(DEMO), "llamacpp:Q4_K_M", "--output", str(kept), home=tmp_path)
    assert Path(copied.stdout.strip()) == kept / place.name
    assert run("convert", str(DEMO), "llamacpp:Q4_K_M", "--output", str(kept), home=tmp_path).returncode == 2
    found = find_model(parse_model(str(kept / place.name)), file_hash)
    origin = origin_of(found)
    assert origin is not None
    assert (origin.form, origin.version.split()[0]) == ("Q4_K_M", "llama-cpp-python")
    # a record tells nothing of a file that was changed afterwards
    with (kept / place.name).open("ab") as file:
        file.write(b"\0")
    assert origin_of(find_model(parse_model(str(kept / place.name)), file_hash)) is None


@pytest.mark.usefixtures("engine")
def test_the_report_says_what_a_model_was_made_of(tmp_path: Path) -> None:
    place = run("convert", "demo", "llamacpp:Q2_K", home=tmp_path).stdout.strip()
    asked = ("--tasks", "piqa", "--limit", "4", "--sample", "--backend", "llamacpp", "--format", "json")
    done = run("run", "--model", place, *asked, home=tmp_path)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["models"]
    assert any("made by slmeval convert as llamacpp:Q2_K" in note for note in told["notes"])


@pytest.mark.usefixtures("engine")
def test_what_llama_cpp_cannot_make_is_told_in_one_sentence(tmp_path: Path) -> None:
    quantized = run("convert", "demo", "llamacpp:Q4_0", home=tmp_path).stdout.strip()
    again = run("convert", quantized, "llamacpp:Q2_K", home=tmp_path)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1
    assert "requantiz" in again.stderr
    plain = run("convert", quantized, "llamacpp:F32", home=tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert read_gguf(Path(plain.stdout.strip())).quantization == "F32"


@pytest.mark.usefixtures("engine")
def test_a_folder_needs_the_script_of_llama_cpp(demo_model: Path, tmp_path: Path) -> None:
    done = run("convert", str(demo_model), "llamacpp:F16", home=tmp_path, LLAMA_CPP_SOURCE=str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "LLAMA_CPP_SOURCE" in done.stderr


def test_a_damaged_record_tells_nothing(model: Path, file_hash: FileHash) -> None:
    before = find_model(parse_model(str(model)), file_hash)
    (model / RECORD).write_text('{"schema": "slmeval.origin/1"}')
    after = find_model(parse_model(str(model)), file_hash)
    assert before.sha256 == after.sha256, "the record is no part of the model"
    assert origin_of(after) is None


# ---- what lies beside, what changes, what is left behind ----------------------------------------------


def test_a_source_that_changes_meanwhile_is_refused(
    model: Path, tmp_path: Path, file_hash: FileHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, plain = find_model(parse_model(str(model)), file_hash), Copier.convert

    def slowly(self: Copier, model: ModelRef, form: str, folder: str) -> ModelRef:
        write_model(Path(model.location), TINY_LLAMA, seed=5)
        return plain(self, model, form, folder)

    monkeypatch.setattr(Copier, "convert", slowly)
    with pytest.raises(ModelError, match="changed while it was converted"):
        convert(source, Copier, "same", file_hash, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "converted").iterdir())


@pytest.mark.parametrize("damage", ["model", "record", "place", "weights"])
def test_what_is_damaged_in_the_cache_is_made_again(
    model: Path, tmp_path: Path, file_hash: FileHash, damage: str
) -> None:
    source = find_model(parse_model(str(model)), file_hash)
    first = convert(source, Copier, "same", file_hash, tmp_path / "cache")
    if damage == "model":
        shutil.rmtree(first.place)
    elif damage == "record":
        (first.home / RECORD).write_text("[")
    elif damage == "place":
        record = json.loads((first.home / RECORD).read_text())
        (first.home / RECORD).write_text(json.dumps({**record, "place": "../../../model"}))
    else:
        write_model(first.place, TINY_LLAMA, seed=9)
    again = convert(source, Copier, "same", file_hash, tmp_path / "cache")
    assert again.fresh
    assert again.place == first.place
    assert (again.place / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_what_a_killed_conversion_left_is_swept_after_a_day(
    model: Path, tmp_path: Path, file_hash: FileHash
) -> None:
    old, young = (tmp_path / "cache" / "converted" / f"unfinished-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    source = find_model(parse_model(str(model)), file_hash)
    convert(source, Copier, "same", file_hash, tmp_path / "cache")
    assert not old.exists()
    assert young.exists()


def test_the_record_stands_with_a_model_in_a_folder_of_its_own(
    model: Path, tmp_path: Path, file_hash: FileHash
) -> None:
    source = find_model(parse_model(str(model)), file_hash)
    made = convert(source, Copier, "same", file_hash, tmp_path / "cache")
    for place in (made.place, copied(made, tmp_path / "out")):
        origin = origin_of(find_model(parse_model(str(place)), file_hash))
        assert origin is not None
        assert origin.converter == "copier"


def test_what_lies_beside_a_gguf_file_is_part_of_the_model(
    tmp_path: Path, demo_model: Path, file_hash: FileHash
) -> None:
    def found(name: str, **beside: str) -> FoundModel:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.gguf").write_bytes(DEMO.read_bytes())
        for file, text in beside.items():
            (folder / f"{file}.json").write_text(text)
        return find_model(parse_model(str(folder / "m.gguf")), file_hash)

    tokenizer = (demo_model / "tokenizer.json").read_text()
    alone = found("alone")
    assert found("config", generation_config='{"eos_token_id": 7}').sha256 == alone.sha256, "it is not read"
    with_one = found("one", tokenizer=tokenizer)
    with_ends = found("ends", tokenizer=tokenizer, generation_config='{"eos_token_id": [2, 272]}')
    assert len({alone.sha256, with_one.sha256, with_ends.sha256}) == 3
    assert with_ends.tokenizer().end_ids == (2, 272)


@pytest.mark.usefixtures("engine")
def test_a_model_with_code_of_its_own_is_not_given_to_the_script(
    tmp_path: Path, demo_model: Path, llama_cpp_source: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(demo_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoConfig": "mine.Config"}}))
    done = run("convert", str(folder), "llamacpp:F16", home=tmp_path, LLAMA_CPP_SOURCE=str(llama_cpp_source))
    assert done.returncode == 2
    assert "Python code of the model's own" in done.stderr
