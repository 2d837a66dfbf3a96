"""Which models may be named: whatever is written, nothing outside of the allow-list is reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("hypothesis", reason="what makes values for tests is not installed")
from hypothesis import example, given
from hypothesis import strategies as st

from slmeval.errors import UsageError
from slmeval.models import form_of, parse_model
from slmeval.service.allowed import Allowed, check_patterns
from slmeval.service.settings import Settings

_SECRET = "the secret"


def _model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A machine: ``models`` is allowed, ``secret`` is not; links lead from one to the other in many ways."""
    here = tmp_path_factory.mktemp("machine")
    models = here / "models"
    _model(models / "a")
    _model(models / "org" / "b")
    _model(models / "org" / "deep" / "c")
    _model(here / "secret" / "inner")
    _model(here / "models-too" / "d")
    (here / "secret" / "config.json").write_text(_SECRET)
    (here / "secret" / "s.gguf").write_bytes(b"GGUF")
    (here / "secret" / "plain.txt").write_text(_SECRET)
    (models / "q.gguf").write_bytes(b"GGUF12")
    for number in (1, 2):
        (models / f"big-0000{number}-of-00002.gguf").write_bytes(b"GGUF")
    (models / "notes.txt").write_text("no model")
    (models / "out").symlink_to(here / "secret")
    (models / "up").symlink_to("..")
    (models / "root").symlink_to("/")
    (models / "loop").symlink_to("loop")
    (models / "out.gguf").symlink_to(here / "secret" / "s.gguf")
    (models / "inside").symlink_to("a")
    (_model(models / "leaky") / "tokenizer.json").symlink_to(here / "secret" / "plain.txt")
    (_model(models / "deeply-leaky") / "sub").symlink_to(here / "secret")
    (models / "shards-00001-of-00002.gguf").write_bytes(b"GGUF")
    (models / "shards-00002-of-00002.gguf").symlink_to(here / "secret" / "s.gguf")
    # as the hub's cache has its files
    blobs, snapshot = models / "models--x--y" / "blobs", models / "models--x--y" / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "w.gguf"):
        (blobs / name.replace(".", "")).write_text("{}")
        (snapshot / name).symlink_to(Path("../../blobs") / name.replace(".", ""))
    yield here
    # a loop of links is nothing that later tests should meet
    (models / "loop").unlink()


@pytest.fixture(scope="module")
def allowed(place: Path) -> Allowed:
    return Allowed(
        Settings(
            place / "store.db",
            folders=(place / "models",),
            hubs=("HuggingFaceTB/*", "org/one", "whole"),
            servers=("http://127.0.0.1:8000/v1", "https://bench.example"),
        )
    )


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("a", 102),
        ("./a", 102),
        ("a/", 102),
        ("org/b", 102),
        ("org/deep/c", 102),
        ("q.gguf", 6),
        ("big-00001-of-00002.gguf", 8),
        ("inside", 102),
        ("models--x--y/snapshots/1", 6),
        ("models--x--y/snapshots/1/w.gguf", 2),
    ],
)
def test_models_of_an_allowed_folder_are_named_within_it(
    allowed: Allowed, place: Path, name: str, size: int
) -> None:
    found = allowed.check(name)
    assert found == str(
        place / "models" / name.strip("./") if name.startswith(".") else place / "models" / name
    )
    assert allowed.bytes_of(found) == size
    # what was checked may be checked again
    assert allowed.check(found) == found
    assert parse_model(found).location == found


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/",
        "..",
        "models",
        "notes.txt",
        "nothing",
        "org",
        "a/config.json",
        "a/model.safetensors",
        "../secret",
        "a/../../secret",
        "a/../a",
        "out",
        "out/inner",
        "out/s.gguf",
        "out.gguf",
        "up/secret",
        "root/etc",
        "loop",
        "~/x",
        "~root/x",
        "..\\secret",
        "a\\..\\..\\secret",
        "%2e%2e/secret",
        "a\0",
        "a\0/../../secret",
        "a\n",
        "a\u202e",
        "a\ud800",
        "file:///etc/passwd",
        "big-00002-of-00002.gguf",
        "leaky",
        "deeply-leaky",
        "shards-00001-of-00002.gguf",
        "x" * 501,
        "../models-too/d",
        "evil/model",
        "huggingfacetb/x",
        "HuggingFaceTB",
        "HuggingFaceTB/x/y",
        "HuggingFaceTB/../x",
        "HuggingFaceTB/..",
        "HuggingFaceTB/.x",
        "org/two",
        "HuggingFaceTB/x:../../w.gguf",
        "HuggingFaceTB/x:/w.gguf",
        "HuggingFaceTB/x:w.bin",
        "HuggingFaceTB/x@../../y",
        "HuggingFaceTB/x@refs/pr/1",
        "HuggingFaceTB/x@",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000/v2",
        "http://127.0.0.1:8000/v10",
        "http://127.0.0.1:80001/v1",
        "http://127.0.0.1/v1",
        "https://127.0.0.1:8000/v1",
        "http://127.0.0.1:8000@evil.example/v1",
        "http://user:word@127.0.0.1:8000/v1",
        "http://127.0.0.1:8000/v1/../admin",
        "http://127.0.0.1:8000/v1/%2e%2e/admin",
        "http://127.0.0.1:8000/v1/%252e%252e/admin",
        "http://127.0.0.1:8000/v1?x=y",
        "http://127.0.0.1:8000\\@evil.example/v1",
        "http://127.0.0.1:8000/v1 x",
        "https://bench.example.evil.example/v1",
        "https://bench.example:444/v1",
        "http://bench.example/v1",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1",
        "http://",
        "ftp://bench.example/",
    ],
)
def test_everything_else_is_refused(allowed: Allowed, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        allowed.check(name)
    said = str(caught.value)
    assert _SECRET not in said
    assert "\0" not in said
    assert "\u202e" not in said
    said.encode()


def test_a_refusal_does_not_tell_what_is_there(allowed: Allowed, place: Path) -> None:
    def said(name: str) -> str:
        with pytest.raises(UsageError) as caught:
            allowed.check(name)
        return str(caught.value).replace(repr(name[:80]), "NAME")

    there, not_there = str(place / "secret"), str(place / "nowhere")
    assert said(there) == said(not_there)
    assert said("../secret/inner") == said("../secret/nothing")
    assert said("out/inner") == said("out/nothing")
    assert str(place) not in said("../secret")


@pytest.mark.parametrize(
    "name",
    [
        "HuggingFaceTB/SmolLM2-135M",
        "HuggingFaceTB/SmolLM2-135M@main",
        "HuggingFaceTB/x@93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        "HuggingFaceTB/x:q4/w.gguf@v1.0",
        "org/one",
        "whole/anything",
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1:8000/v1/",
        "http://127.0.0.1:8000/v1#org/model",
        "HTTP://127.0.0.1:8000/v1",
        "https://bench.example",
        "https://BENCH.example:443/v1#m",
    ],
)
def test_what_patterns_allow_is_taken_as_it_stands(allowed: Allowed, name: str) -> None:
    assert allowed.check(name) == name
    assert allowed.bytes_of(name) == 0
    assert form_of(parse_model(name)) in ("server", "gguf", "folder")


def test_without_a_list_there_is_the_demo_model_alone(place: Path) -> None:
    allowed = Allowed(Settings(place / "store.db"))
    assert allowed.listed() == []
    for name in ("a", str(place / "models" / "a"), "HuggingFaceTB/x", "http://127.0.0.1:8000/v1", "."):
        with pytest.raises(UsageError, match="demo model alone"):
            allowed.check(name)


def test_a_folder_that_is_a_model_is_called_by_its_name(place: Path) -> None:
    allowed = Allowed(Settings(place / "store.db", folders=(place / "models" / "a",)))
    assert allowed.listed() == ["a"]
    assert allowed.check("a") == str(place / "models" / "a")
    with pytest.raises(UsageError):
        allowed.check("../org/b")


def test_a_link_to_a_folder_allows_what_it_leads_to(place: Path) -> None:
    link = place / "link-to-models"
    link.symlink_to(place / "models")
    allowed = Allowed(Settings(place / "store.db", folders=(link,)))
    assert allowed.check("a") == str(place / "models" / "a")
    assert allowed.check(str(link / "a")) == str(place / "models" / "a")


def test_names_are_listed_as_they_may_be_given(allowed: Allowed, place: Path) -> None:
    listed = allowed.listed()
    assert listed == ["a", "big-00001-of-00002.gguf", "org/b", "q.gguf", "org/one"]
    for name in listed:
        allowed.check(name)
    # of two folders with a model of one name, both can be named
    twice = Allowed(
        Settings(place / "store.db", folders=(place / "models", place / "models" / "org" / "deep"))
    )
    _model(place / "again" / "a")
    twice = Allowed(Settings(place / "store.db", folders=(place / "models", place / "again")))
    assert "a" in twice.listed()
    assert str(place / "again" / "a") in twice.listed()


def test_what_lies_where_the_server_was_started_is_not_taken_for_a_hubs(
    allowed: Allowed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    allowed.check("HuggingFaceTB/x")
    _model(tmp_path / "HuggingFaceTB" / "x")
    for name in ("HuggingFaceTB/x", "HuggingFaceTB/x@main"):
        with pytest.raises(UsageError, match="also a folder where the server was started"):
            allowed.check(name)


# ---- whatever is written ---------------------------------------------------------------------------------

_STEPS = [
    "..",
    ".",
    "",
    "a",
    "org",
    "b",
    "out",
    "up",
    "inside",
    "secret",
    "inner",
    "models",
    "models-too",
    "d",
]
_STEPS += [
    "root",
    "loop",
    "s.gguf",
    "out.gguf",
    "q.gguf",
    "~",
    "%2e%2e",
    "..%2f",
    "\0",
    "..\\",
    "leaky",
    "sub",
]
_PATHS = st.lists(st.sampled_from(_STEPS), max_size=8).map("/".join)


@given(st.data())
def test_no_path_leads_out_of_the_folders(allowed: Allowed, place: Path, data: st.DataObject) -> None:
    before = data.draw(
        st.sampled_from(["", "/", f"{place}/", f"{place}/models/", f"{place}/secret/", "./", "//"])
    )
    name = before + data.draw(_PATHS)
    try:
        found = allowed.check(name)
    except UsageError:
        return
    real = Path(os.path.realpath(found))
    assert real.is_relative_to(place / "models"), (name, found)
    assert allowed.check(found) == found
    for folder, _, files in os.walk(real):
        for file in files:
            assert Path(os.path.realpath(Path(folder, file))).is_relative_to(place / "models")


@given(st.text(max_size=60))
@example("\ud800/x")
@example("a" * 400 + "/b")
def test_any_text_is_allowed_or_refused(allowed: Allowed, text: str) -> None:
    try:
        found = allowed.check(text)
    except UsageError as refusal:
        str(refusal).encode()
        return
    allowed.bytes_of(found)


_PIECES = [
    "http://",
    "https://",
    "http:",
    "127.0.0.1",
    "bench.example",
    "evil.example",
    "[::1]",
    ":8000",
    ":80",
]
_PIECES += [
    "/v1",
    "v1",
    "/",
    "//",
    "/admin",
    "..",
    ".",
    "%2e",
    "%00",
    "%40",
    "@",
    "\\",
    "#m",
    "?",
    ":",
    ";",
    "\t",
    "。",
]
_URLS = st.lists(st.sampled_from(_PIECES), max_size=9).map("".join)


@given(_URLS)
@example("http://127.0.0.1:8000/v1#@evil.example")
def test_no_address_leads_to_another_server(allowed: Allowed, text: str) -> None:
    try:
        found = allowed.check(text)
    except UsageError:
        return
    if "://" not in found:
        return
    parts = urlsplit(found)
    where = (parts.scheme, parts.hostname, parts.port)
    assert where in {
        ("http", "127.0.0.1", 8000),
        ("https", "bench.example", None),
        ("https", "bench.example", 443),
    }
    assert parts.username is None
    assert not parts.query
    if where[1] == "127.0.0.1":
        assert parts.path == "/v1" or parts.path.startswith("/v1/")
        assert os.path.normpath(parts.path).startswith("/v1")


@given(st.from_regex(r"[A-Za-z./~@:-]{0,20}/[A-Za-z0-9./~@:-]{0,20}", fullmatch=True))
def test_no_hub_id_is_of_another_owner(allowed: Allowed, text: str) -> None:
    try:
        found = allowed.check(text)
    except UsageError:
        return
    if Path(found).is_absolute():
        return
    location = parse_model(found).location.partition(":")[0]
    assert location == "org/one" or location.startswith(("HuggingFaceTB/", "whole/"))
    assert location.count("/") == 1


@pytest.mark.parametrize("hub", ["a/b/c", "/b", "", "a/", "https://huggingface.co/a/b"])
def test_a_pattern_of_hubs_that_fits_nothing_is_refused(tmp_path: Path, hub: str) -> None:
    with pytest.raises(UsageError, match=r"--hub .*: OWNER or OWNER/NAME"):
        check_patterns(Settings(tmp_path / "s.db", hubs=("org/*", hub)))


@pytest.mark.parametrize(
    "server",
    ["bench.example", "bench.example:8000/v1", "ftp://bench.example", "http://me@h/v1", "http://h?a", ""],
)
def test_the_beginning_of_no_address_is_refused(tmp_path: Path, server: str) -> None:
    with pytest.raises(UsageError, match=r"--model-server .*: the beginning of an address"):
        check_patterns(Settings(tmp_path / "s.db", servers=("http://127.0.0.1:8000/v1", server)))


def test_patterns_that_fit_something_are_taken(tmp_path: Path) -> None:
    hubs = ("HuggingFaceTB/*", "org/one", "whole", "*", "*/*-GGUF", "[ab]*/x")
    servers = ("http://127.0.0.1:8000/v1", "https://bench.example", "http://[::1]:1/v1#one")
    check_patterns(Settings(tmp_path / "s.db", hubs=hubs, servers=servers))
