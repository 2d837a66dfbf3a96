"""From a model's name to files: folders, hub ids with revisions, hashes, context lengths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from random_models import TINY_LLAMA, write_model
from small_hub import SmallHub, serving
from test_tokenizing import words

from slmeval.errors import ModelError
from slmeval.models import FoundModel, find_model, parse_model
from slmeval.store import Store
from slmeval.types import ModelRef


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return words(write_model(tmp_path / "model", TINY_LLAMA), bos=False)


def found(model: Path, tmp_path: Path) -> FoundModel:
    with Store.open(tmp_path / "store.db") as store:
        return find_model(parse_model(str(model)), store.file_hash)


def test_a_reference_is_a_folder_or_a_hub_id_with_its_revision(tmp_path: Path) -> None:
    odd = tmp_path / "with@sign"
    odd.mkdir()
    assert parse_model(str(odd)) == ModelRef(str(odd))
    assert parse_model("owner/name@v1.0") == ModelRef("owner/name", "v1.0")
    assert parse_model("owner/name") == ModelRef("owner/name")


@pytest.mark.parametrize(
    "change",
    [
        lambda model: write_model(model, TINY_LLAMA, seed=1),
        lambda model: (model / "config.json").write_text(json.dumps({**TINY_LLAMA, "rms_norm_eps": 1e-6})),
        lambda model: (model / "model.safetensors").rename(model / "other.safetensors"),
        lambda model: (model / "generation_config.json").write_text("{}"),
    ],
)
def test_the_hash_sees_every_file_that_defines_the_model(model: Path, tmp_path: Path, change: object) -> None:
    before = found(model, tmp_path).sha256
    (model / "README.md").write_text("words")
    assert found(model, tmp_path).sha256 == before
    change(model)  # type: ignore[operator]
    assert found(model, tmp_path).sha256 != before


@pytest.mark.parametrize(
    ("config", "limit", "context"),
    [
        ({"max_position_embeddings": 64}, None, 64),
        ({"n_positions": 32, "max_position_embeddings": 64}, None, 32),
        ({"n_ctx": 16}, None, 16),
        ({"max_position_embeddings": 8, "text_config": {"max_position_embeddings": 128}}, None, 128),
        ({}, 512, 512),
        ({}, 10**30, 2048),
        ({}, None, 2048),
    ],
)
def test_the_context_is_read_where_lm_eval_reads_it(
    model: Path, tmp_path: Path, config: dict[str, object], limit: int | None, context: int
) -> None:
    bare = {key: value for key, value in TINY_LLAMA.items() if key != "max_position_embeddings"}
    (model / "config.json").write_text(json.dumps({**bare, **config}))
    if limit is not None:
        (model / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    assert found(model, tmp_path).context == context


def test_a_file_is_no_model_folder(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        found(model / "config.json", tmp_path)


def damaged(model: Path, tmp_path: Path) -> str:
    """The one line that says why the model is refused."""
    with pytest.raises(ModelError) as refusal:
        found(model, tmp_path)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


def indexed(model: Path, weight_map: object, name: str = "model.safetensors.index.json") -> Path:
    (model / name).write_text(json.dumps({"weight_map": weight_map}))
    return model


def in_a_folder_below(model: Path) -> Path:
    """Moves the weights where only the index finds them."""
    (model / "sub").mkdir()
    (model / "model.safetensors").rename(model / "sub" / "x.safetensors")
    return indexed(model, {"norm": "sub/x.safetensors"})


def test_weights_below_the_top_count_where_an_index_names_them(model: Path, tmp_path: Path) -> None:
    top = found(model, tmp_path).sha256
    weights = in_a_folder_below(model) / "sub" / "x.safetensors"
    before = found(model, tmp_path).sha256
    assert before != top
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert found(model, tmp_path).sha256 != before
    weights.write_bytes(content[:-1])
    assert "is cut short" in damaged(model, tmp_path)


def test_weights_of_the_older_kind_count_where_their_index_names_them(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "sub").mkdir()
    weights = model / "sub" / "pytorch_model-1.bin"
    weights.write_bytes(b"first")
    indexed(model, {"norm": "sub/pytorch_model-1.bin"}, "pytorch_model.bin.index.json")
    before = found(model, tmp_path).sha256
    weights.write_bytes(b"FIRST")
    assert found(model, tmp_path).sha256 != before
    weights.unlink()
    assert "lacks sub/pytorch_model-1.bin" in damaged(model, tmp_path)


def test_the_older_kind_need_not_be_there_beside_safetensors(model: Path, tmp_path: Path) -> None:
    indexed(model, {"norm": "pytorch_model-1.bin"}, "pytorch_model.bin.index.json")
    assert found(model, tmp_path).sha256


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({"a": 1}, "weight_map does not map names to files"),
        ({"a": ["x"]}, "weight_map does not map names to files"),
        ([], "weight_map does not map names to files"),
        ({"a": "/etc/hostname"}, "names /etc/hostname, which lies outside"),
        ({"a": "sub/../../x.safetensors"}, "which lies outside"),
        ({"a": ""}, "lacks"),
        ({"a": "nul\0"}, "lacks"),
        ({"a": "half \ud800"}, "lacks"),
    ],
)
def test_an_index_that_names_no_files_of_the_model_is_refused(
    model: Path, tmp_path: Path, weight_map: object, reason: str
) -> None:
    assert reason in damaged(indexed(model, weight_map), tmp_path)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_a_file_nested_too_deeply_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    config = {key: value for key, value in TINY_LLAMA.items() if key != "max_position_embeddings"}
    (model / "config.json").write_text(json.dumps(config))
    (model / name).write_text(f'{{"weight_map": {DEEP}}}')
    assert f"{name} is damaged" in damaged(model, tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        f'{{"a": {DEEP}}}',
        "[]",
        '{"a": 1}',
        '{"a": {"data_offsets": "ab"}}',
        '{"a": {"data_offsets": [0, 1.5]}}',
    ],
)
def test_a_header_that_safetensors_never_wrote_is_refused(model: Path, tmp_path: Path, header: str) -> None:
    content = header.encode()
    (model / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    assert "its header is not that of a safetensors file" in damaged(model, tmp_path)


def test_a_header_longer_than_any_is_not_read(model: Path, tmp_path: Path) -> None:
    with (model / "model.safetensors").open("wb") as file:
        file.write((3 * 10**9).to_bytes(8, "little"))
        file.truncate(3 * 10**9 + 8)  # no block of it is on the disk
    assert "a header of 3000000000 bytes is longer than any" in damaged(model, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_counts(model: Path, tmp_path: Path) -> None:
    before = found(model, tmp_path).sha256
    (model / os.fsdecode(b"\xff.json")).write_text("{}")
    assert found(model, tmp_path).sha256 != before


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.skipif(sys.platform != "linux", reason="makes them as Linux does")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (loop, "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
        (os.mkfifo, "is no regular file"),
        # a file whose first byte cannot be read
        (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
    ],
)
def test_what_cannot_be_hashed_is_refused(
    model: Path, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(model / "extra.txt")
    assert reason in damaged(model, tmp_path)


def test_a_name_too_long_for_any_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: " in damaged(Path("/" + "x" * 5000), tmp_path)


def run(hub: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``slmeval run`` with the hub at that address and a cache of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub,
        "HF_HOME": str(home / "hub"),
        "SLMEVAL_STORE": str(home / "store.db"),
    }
    command = [
        sys.executable,
        "-m",
        "slmeval",
        "run",
        "--backend",
        "reference",
        "--sample",
        "--tasks",
        "piqa",
    ]
    return subprocess.run(
        [*command, "--limit", "3", *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_model_comes_from_the_hub_at_its_revision(model: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub = SmallHub({"someone/tiny": {"main": files, "v1": {**files, "config.json": b"{}"}}})
    with serving(hub) as address:
        done = run(address, tmp_path, "--model", "someone/tiny", "--format", "json")
        assert done.returncode == 0, done.stderr
        (told,) = json.loads(done.stdout)["models"]
        assert (told["reference"], told["label"]) == ("someone/tiny", "tiny")
        assert told["model_hash"] == found(model, tmp_path).sha256
        other = run(address, tmp_path, "--model", "someone/tiny@v1")
        assert other.returncode == 3, "that revision has an empty config"
        missing = run(address, tmp_path, "--model", "someone/none")
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1
    assert "someone/none" in missing.stderr
    again = run("http://127.0.0.1:9", tmp_path, "--model", "someone/tiny")
    assert again.returncode == 0, "what was fetched once is there when the hub is gone"
    unreachable = run("http://127.0.0.1:9", tmp_path, "--model", "someone/other")
    assert unreachable.returncode == 2
    assert len(unreachable.stderr.splitlines()) == 1
