"""From a model's name to files: folders, hub ids with revisions, hashes, context lengths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
