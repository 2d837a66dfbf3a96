"""``slmeval inspect``: what it prints of folders, GGUF files and models on a hub, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from random_models import TINY_LLAMA, write_model
from small_hub import SmallHub, serving
from survey_models import GEMMA_2, MINICPM3, MIXTRAL, MODELS, OPENELM, RECURRENT

from slmeval.cli import run
from slmeval.inspection import Costs, Fact

DEMO = Path(__file__).parents[1] / "slmeval" / "demo"


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(["inspect", *map(str, arguments), "--format", "json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def folder(place: Path, config: dict[str, Any]) -> Path:
    """A model's folder without weights."""
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps(config))
    return place


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which it is refused."""
    assert run(["inspect", *map(str, arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    return told.err


# ---- what is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["model", "model.gguf"])
def test_the_demo_model_is_told_in_both_forms(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, DEMO / form, "--bandwidth", 100, "--contexts", "1,2048")
    values = {name: fact["value"] for name, fact in told["facts"].items()}
    assert values["parameters"] == values["parameters_stored"] == 3_672_320
    assert (values["attention"], values["ffn_ratio"], values["ffn_gated"]) == ("GQA", 3.0, "gated")
    assert (values["sliding_window"], values["latent"]) == ("none", "none")
    assert values["kv_bytes_per_token"] == 2048
    assert values["context_at_80_percent"] == -(-4 * int(values["weight_bytes_stored"]) // 2048)
    one, many = told["costs"]
    assert many["kv_bytes"] == 2048 * 2048
    assert many["kv_share"] == many["kv_bytes"] / (many["kv_bytes"] + many["weight_bytes"])
    assert many["decode_ceiling"] == 100e9 / many["decode_bytes"]
    assert one["decode_ceiling"] > many["decode_ceiling"]
    assert told["notes"] == []


@pytest.mark.parametrize("form", ["model", "model.gguf"])
def test_every_fact_says_where_it_is_from(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, DEMO / form)
    sources = {name: fact["source"] for name, fact in told["facts"].items()}
    by = "config.json" if form == "model" else "GGUF header"
    assert sources["parameters"] == sources["parameters_stored"] == "read from tensors"
    assert sources["hidden"] == sources["context"] == f"read from {by}"
    assert sources["kv_bytes_per_token"] == "computed"
    assert "unknown" not in sources.values()
    assert set(told["costs_source"].values()) == {"estimated", "computed"}


@pytest.mark.parametrize(
    ("change", "told", "source"),
    [
        ({}, "yes", "default of opt"),
        ({"tie_word_embeddings": None}, "yes", "default of opt"),
        ({"tie_word_embeddings": True}, "yes", "read from config.json"),
        ({"tie_word_embeddings": False}, "no", "read from config.json"),
    ],
)
def test_a_tied_head_says_who_ties_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str, source: str
) -> None:
    model = folder(tmp_path / "m", {**MODELS["OPT-125M"][0], **change})
    fact = document(capsys, model)["facts"]["tied"]
    assert (fact["value"], fact["source"]) == (told, source)


def test_without_weights_it_is_computed_or_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = document(capsys, folder(tmp_path / "m", MODELS["SmolLM-135M"][0]))
    facts = told["facts"]
    assert facts["parameters"]["value"] == 134_515_008
    assert facts["parameters"]["source"] == "computed from config.json"
    assert (facts["parameters_stored"]["value"], facts["parameters_stored"]["source"]) == (None, "unknown")
    assert facts["weight_bytes_stored"]["value"] == 2 * 134_515_008
    assert "what is stored is not known" in told["notes"][0]


def test_of_an_unknown_architecture_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "m", TINY_LLAMA)
    (model / "config.json").write_text(json.dumps({**TINY_LLAMA, "model_type": "newest"}))
    told = document(capsys, model, "--bandwidth", 10)
    facts = {name: (fact["value"], fact["source"]) for name, fact in told["facts"].items()}
    assert facts["parameters"][1] == "read from tensors"
    assert facts["vocabulary"] == (96, "read from config.json")
    for name in ("attention", "layers", "ffn_ratio", "kv_bytes_per_token", "context_at_80_percent", "tied"):
        assert facts[name] == (None, "unknown"), name
    assert {value for key, value in told["costs"][0].items() if key not in ("context", "weight_bytes")} == {
        None
    }
    assert any("'newest' is not known here" in note for note in told["notes"])
    assert run(["inspect", str(model)]) == 0
    assert "attention                                             unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (OPENELM, "GQA 4:1 (12 to 20 heads over 3 to 5 of keys and values, of 64)"),
        (MINICPM3, "rank 256 and 32 rotated"),
        (GEMMA_2, "4096 tokens in 13 of 26 layers"),
        (MIXTRAL, "2 of 8, in 32 of 32 layers"),
        (RECURRENT, "recurrent (a state of 10,240 numbers) in 18 of 26 layers; MQA 10:1"),
        (RECURRENT, "never, for none of its layers keeps more and more"),
        (MODELS["Qwen2-0.5B"][0], "GQA 7:1 (14 heads over 2 of keys and values, of 64)"),
        (MODELS["Phi-2"][0], "MHA 1:1"),
        (MODELS["Phi-2"][0], "gelu_new"),
        (MODELS["OPT-125M"][0], "not gated"),
        (MODELS["Bloom-560M"][0], "45.9%"),
    ],
)
def test_the_table_tells_what_is_special(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any], words: str
) -> None:
    assert run(["inspect", str(folder(tmp_path / "m", config)), "--weights", "float16"]) == 0
    assert words in capsys.readouterr().out


def test_types_are_chosen_for_weights_and_for_keys_and_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder(tmp_path / "m", MODELS["Phi-1.5"][0])
    told = document(capsys, model, "--weights", "Q4_K_M", "--kv", "q8_0,float16", "--contexts", "1000")
    parameters, values = MODELS["Phi-1.5"][1].parameters, told["facts"]
    assert told["costs"][0]["weight_bytes"] == pytest.approx(parameters * 4.85 / 8)
    assert values["weight_bytes"]["source"] == values["context_at_80_percent"]["source"] == "estimated"
    assert values["weight_bytes_stored"]["value"] == 2 * parameters
    for name in ("weight_bytes", "kv_share", "decode_bytes", "decode_ceiling", "compute_bytes"):
        assert told["costs_source"][name] == "estimated", name
    assert told["costs"][0]["kv_bytes"] == 1000 * 24 * 32 * 64 * (8.5 + 16) / 8
    assert run(["inspect", str(model), "--weights", "q4_k_m"]) == 0
    assert "with weights and compute estimated" in capsys.readouterr().out
    plain = document(capsys, model, "--weights", "8", "--kv", "4.5")
    assert plain["costs_source"].keys() == {"compute_bytes", "kv_share_with_compute", "all others"}
    assert plain["facts"]["weight_bytes"] == {
        "label": "weights in 8 bits",
        "value": parameters,
        "source": "computed",
        "unit": "bytes",
        "words": "",
    }
    assert plain["kv"] == "4.5 bits"


def test_a_context_beyond_the_models_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(DEMO / "model"), "--contexts", "2048,2049,4096"]) == 0
    assert "beyond its context of 2,048 tokens: 2,049, 4,096" in capsys.readouterr().out


def test_a_configuration_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {**MODELS["SmolLM-135M"][0], "hidden_act": "si\x1b[2Jlu\n\u202e", "torch_dtype": "\x07half"}
    assert run(["inspect", str(folder(tmp_path / "m", odd)), "--weights", "4"]) == 0
    told = capsys.readouterr().out
    assert "silu" in told
    assert not set(told) & set("\x1b\x07\u202e")
    odd["model_type"] = "\x9b2J\u202e\ud800" + "y" * 100_000
    assert run(["inspect", str(folder(tmp_path / "m", odd))]) == 0
    assert len(capsys.readouterr().out) < 60_000
    assert run(["inspect", str(tmp_path / "m"), "--format", "json"]) == 0
    told = capsys.readouterr().out
    assert told.isascii()
    assert json.loads(told)["facts"]["architecture"]["value"] == odd["model_type"]


def test_no_engine_and_no_array_library_is_imported() -> None:
    program = (
        "import sys; from slmeval.cli import run; run(['inspect', sys.argv[1]]); "
        "print([name for name in ('torch', 'transformers', 'numpy', 'huggingface_hub', 'safetensors') "
        "if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(DEMO / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_explains_every_fact_and_every_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "inspect.md").read_text(encoding="utf-8")
    names = {
        name
        for config in (MIXTRAL, RECURRENT, MODELS["SmolLM-135M"][0])
        for name in document(capsys, folder(tmp_path / "m", config), "--weights", "4")["facts"]
    }
    assert len(names) > 20
    for name in (*names, *Costs.__annotations__, *Fact.__annotations__):
        assert f"`{name}`" in page, name


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--contexts", "0"), "--contexts 0: a context has from 1"),
        (("--contexts", "5,-1"), "--contexts -1"),
        (("--contexts", "many"), "numbers, as in"),
        (("--contexts", str(10**30)), "a context has from 1"),
        (("--weights", "q8_00"), "did you mean 'q8_0'"),
        (("--weights", "0"), "0 bits per number"),
        (("--weights", "4_0"), "did you mean 'q4_0'"),
        (("--kv", "q4_k_m"), "unknown type of numbers 'q4_k_m'"),
        (("--kv", "f16,f16,f16"), "one type, or that of keys and that of values"),
        (("--kv", ""), "unknown type of numbers ''"),
        (("--bandwidth", "0"), "--bandwidth 0: it must be above 0"),
        (("--bandwidth", "nan"), "it must be above 0"),
        (("--bandwidth", "1e308"), "it must be above 0"),
        (("--bandwidth", "fast"), "fast"),
        (("--format", "tabel"), "did you mean 'table'"),
    ],
)
def test_wrong_options_are_refused(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    assert told in refused(capsys, DEMO / "model", *options)


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no config.json" in refused(capsys, tmp_path)
    assert "there is no model" in refused(capsys, tmp_path / "none")
    assert "there is no model ./none.gguf" in refused(capsys, "./none.gguf")
    assert "a server does not tell" in refused(capsys, "http://127.0.0.1:1/v1")
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "config.json is damaged" in refused(capsys, tmp_path)
    folder(tmp_path, {**TINY_LLAMA, "num_hidden_layers": -1})
    assert "gives -1 as num_hidden_layers" in refused(capsys, tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names here")
def test_what_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path, TINY_LLAMA)
    os.mkfifo(tmp_path / "model.safetensors")
    assert "model.safetensors is no regular file" in refused(capsys, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    folder(tmp_path, TINY_LLAMA)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert f"{name} cannot be read: Permission denied" in refused(capsys, tmp_path)


@pytest.mark.parametrize("size", [0, 3, 20, 500, 60_000, 1_000_000])
def test_a_gguf_file_that_is_cut_short_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes((DEMO / "model.gguf").read_bytes()[:size])
    assert "cut.gguf" in refused(capsys, file)


@pytest.mark.parametrize("form", ["model/config.json", "model.gguf"])
def test_no_flipped_byte_ends_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Every value of a few hundred bytes, one at a time, is read, or refused in one line."""
    content = bytearray((DEMO / form).read_bytes())
    place = tmp_path / "config.json" if form.endswith("json") else tmp_path / "x.gguf"
    model = place if place.suffix == ".gguf" else tmp_path
    codes = set()
    for at in range(0, 600, 3):
        whole = content[at]
        content[at] = whole ^ 0x1F
        place.write_bytes(content)
        codes.add(run(["inspect", str(model), "--weights", "4"]))
        assert len(capsys.readouterr().err.splitlines()) <= 1
        content[at] = whole
    assert codes == {0, 2}


# ---- the hub ---------------------------------------------------------------------------------------------


def on_hub(hub: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``slmeval inspect`` with the hub at that address and a cache of its own."""
    pytest.importorskip("huggingface_hub", minversion="1.3", reason="the extra `data` is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_ENDPOINT": hub, "HF_HOME": str(home / "hub")}
    command = [sys.executable, "-m", "slmeval", "inspect", *arguments, "--format", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def facts_on_hub(hub: str, home: Path, *arguments: str) -> dict[str, Any]:
    done = on_hub(hub, home, *arguments)
    assert done.returncode == 0, done.stderr
    return {name: fact["value"] for name, fact in json.loads(done.stdout)["facts"].items()}


def files_of(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model.iterdir()}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some megabytes, of which no more than headers should be fetched."""
    return write_model(
        tmp_path_factory.mktemp("large") / "model",
        TINY_LLAMA | {"vocab_size": 4096, "hidden_size": 64},
    )


def test_of_a_model_on_the_hub_headers_alone_are_fetched(
    large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {name: fact["value"] for name, fact in document(capsys, large)["facts"].items()}
    files = files_of(large)
    hub = SmallHub({"someone/large": {"main": files, "v1": {**files, "config.json": b"{}"}}})
    with serving(hub) as address:
        assert facts_on_hub(address, tmp_path, "someone/large") == here
        old = on_hub(address, tmp_path, "someone/large@v1")
    # of each revision the first 256 KiB
    assert hub.sent["model.safetensors"] == 2 * 2**18 < len(files["model.safetensors"]) / 2
    assert old.returncode == 0
    assert "names no model_type" in json.loads(old.stdout)["notes"][0]


def test_a_hub_that_knows_no_ranges_is_hung_up_on(
    large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = document(capsys, large)["facts"]["parameters"]["value"]
    with serving(SmallHub({"someone/large": {"main": files_of(large)}}, knows_ranges=False)) as address:
        assert facts_on_hub(address, tmp_path, "someone/large")["parameters"] == here


def test_weights_in_several_files_on_the_hub(tmp_path: Path, large: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = shutil.copytree(large, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:5], names[5:])):
        save_file({name: weights[name] for name in part}, model / f"part-{number}.safetensors")
    places = {name: f"part-{int(name in names[5:])}.safetensors" for name in names}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with serving(SmallHub({"someone/parts": {"main": files_of(model)}})) as address:
        told = facts_on_hub(address, tmp_path, "someone/parts")
    assert told["parameters"] == told["parameters_stored"] == sum(value.size for value in weights.values())


def test_a_gguf_file_on_the_hub_is_told_by_its_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {name: fact["value"] for name, fact in document(capsys, DEMO / "model.gguf")["facts"].items()}
    content = (DEMO / "model.gguf").read_bytes()
    hub = SmallHub({"someone/gguf": {"main": {"model.gguf": content, "cut.gguf": content[:-1000]}}})
    with serving(hub) as address:
        assert facts_on_hub(address, tmp_path, "someone/gguf:model.gguf") == here
        cut = on_hub(address, tmp_path, "someone/gguf:cut.gguf")
        bare = on_hub(address, tmp_path, "someone/gguf")
    assert hub.sent["model.gguf"] < len(content) / 4
    assert "is cut short" in cut.stderr
    assert "name one of its files, someone/gguf:FILE.gguf" in bare.stderr
    assert {cut.returncode, bare.returncode} == {2}


def test_a_model_without_safetensors_on_the_hub_is_told_by_its_configuration(
    tmp_path: Path, large: Path
) -> None:
    files = {"config.json": (large / "config.json").read_bytes(), "pytorch_model.bin": b"weights"}
    hub = SmallHub({"someone/old": {"main": files}})
    with serving(hub) as address:
        told = facts_on_hub(address, tmp_path, "someone/old")
    assert told["parameters_stored"] is None
    assert told["parameters"] > 500_000
    assert hub.sent["pytorch_model.bin"] == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("someone/none", "there is none, or it is private"),
        ("someone/large@v9", "it has no revision v9"),
        ("someone/large:none.gguf", "it has no file none.gguf"),
        ("someone/lacks", "it lacks a file that its index names"),
        ("someone/closed", "its owner wants to be asked for access"),
        ("not a name/at all", "it is no hub id either"),
    ],
)
def test_what_the_hub_does_not_have_is_told_in_one_sentence(
    tmp_path: Path, large: Path, name: str, reason: str
) -> None:
    files = files_of(large)
    index = json.dumps({"weight_map": {"a": "gone.safetensors"}}).encode()
    lacking = {**files, "model.safetensors.index.json": index}
    models = {"someone/large": files, "someone/lacks": lacking, "someone/closed": files}
    hub = SmallHub({model: {"main": held} for model, held in models.items()}, frozenset({"someone/closed"}))
    with serving(hub) as address:
        missing = on_hub(address, tmp_path, name)
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1
    assert name.partition("@")[0] in missing.stderr
    assert reason in missing.stderr


def test_a_hub_that_is_away_is_told_in_one_sentence(tmp_path: Path) -> None:
    away = on_hub("http://127.0.0.1:9", tmp_path, "someone/large")
    assert away.returncode == 2
    assert len(away.stderr.splitlines()) == 1
    assert "someone/large" in away.stderr


def test_what_was_fetched_once_is_told_when_the_hub_is_away(tmp_path: Path, large: Path) -> None:
    kept = tmp_path / "hub" / "hub" / "models--someone--large"
    shutil.copytree(large, kept / "snapshots" / ("0" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    told = facts_on_hub("http://127.0.0.1:9", tmp_path, "someone/large")
    assert told["parameters_stored"] == told["parameters"] > 500_000


def test_damaged_files_on_the_hub_are_told_in_one_sentence(tmp_path: Path, large: Path) -> None:
    files = files_of(large)
    damaged = {
        "someone/a": {"main": {**files, "config.json": b"{"}},
        "someone/b": {"main": {**files, "model.safetensors": b"\xff" * 1000}},
        "someone/c": {"main": {**files, "model.safetensors": files["model.safetensors"][:100]}},
        "someone/d": {"main": {**files, "model.safetensors.index.json": b'{"weight_map": {"a": "../b"}}'}},
    }
    with serving(SmallHub(damaged)) as address:
        for name in damaged:
            told = on_hub(address, tmp_path, name)
            assert (told.returncode, len(told.stderr.splitlines())) == (2, 1), told.stderr
            assert f"{name}/" in told.stderr
