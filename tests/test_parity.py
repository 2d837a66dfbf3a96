"""``slmeval parity`` names what differs: causes made on purpose, alone and two at once, and no false one."""

from __future__ import annotations

import json
import re
import shutil
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from jsonschema import Draft202012Validator
from safetensors.numpy import load_file, save_file

from slmeval.cli import run
from slmeval.gguf_file import read_gguf
from slmeval.pairing import demo_model
from slmeval.parity import report
from slmeval.parity.document import parity_schema
from slmeval.registry import load

Document = dict[str, Any]
MAKER = Callable[[Path], None]
#: a merge that makes " the", and a matrix whose rows are shuffled
MERGE, MATRIX = ["▁t", "he"], "model.layers.2.mlp.down_proj.weight"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def present(backend: str) -> None:
    if (reason := load().parts.backends[backend].missing()) is not None:
        pytest.skip(f"{backend} cannot run here: {reason}")


# ---- models with one thing changed ---------------------------------------------------------------------


def edited(name: str, change: Callable[[Document], Any]) -> MAKER:
    def make(folder: Path) -> None:
        file = folder / name
        whole = json.loads(file.read_text(encoding="utf-8"))
        change(whole)
        file.write_text(json.dumps(whole), encoding="utf-8")

    return make


without_merge = edited("tokenizer.json", lambda whole: whole["model"]["merges"].remove(MERGE))
doubled_bos = edited(
    "tokenizer.json",
    lambda whole: whole["post_processor"]["single"].insert(0, whole["post_processor"]["single"][0]),
)
short_context = edited("config.json", lambda whole: whole.update(max_position_embeddings=300))
other_theta = edited("config.json", lambda whole: whole["rope_parameters"].update(rope_theta=5000.0))
#: moves log-probabilities by less than float32 rounds
near_theta = edited("config.json", lambda whole: whole["rope_parameters"].update(rope_theta=10000.5))
scaled = edited("config.json", lambda whole: whole["rope_parameters"].update(rope_type="linear", factor=2.0))


def chat(template: str) -> MAKER:
    return edited("tokenizer_config.json", lambda whole: whole.update(chat_template=template))


def shuffled(folder: Path) -> None:
    def shuffle(tensors: dict[str, Any]) -> None:
        order = np.random.default_rng(0).permutation(len(tensors[MATRIX]))
        tensors[MATRIX] = np.ascontiguousarray(tensors[MATRIX][order])

    _rewrite(folder, shuffle)


def widened(folder: Path) -> None:
    """The same numbers, stored in float32."""
    _rewrite(folder, lambda tensors: tensors.update({name: tensors[name].astype("f4") for name in tensors}))


def untied(folder: Path) -> None:
    """The output matrix stored by itself, as the embedding that it is."""
    _rewrite(folder, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING].copy()}))
    edited("config.json", lambda whole: whole.update(tie_word_embeddings=False))(folder)


def other_head(folder: Path) -> None:
    untied(folder)
    _rewrite(folder, lambda tensors: tensors.update({HEAD: (tensors[HEAD] * 1.05).astype("f2")}))


def unused_row(folder: Path) -> None:
    """A row of the embedding that no question here reads."""
    untied(folder)
    _rewrite(folder, lambda tensors: tensors[EMBEDDING][2040].__iadd__(1))


def of_older_libraries(folder: Path) -> None:
    """Names without the first prefix, and a buffer that engines compute by themselves."""

    def change(tensors: dict[str, Any]) -> None:
        renamed = {name.removeprefix("model."): tensors.pop(name) for name in list(tensors)}
        tensors.update(renamed, **{"layers.0.self_attn.rotary_emb.inv_freq": np.ones(32, "f4")})

    _rewrite(folder, change)


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def in_bfloat16(folder: Path) -> None:
    """The same numbers, rounded to bfloat16 and stored so."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    file = folder / "model.safetensors"
    rounded = {name: tensor.to(torch.bfloat16) for name, tensor in load_torch(file).items()}
    save_torch(rounded, file, metadata={"format": "pt"})


def in_shards(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {tensor: names[number % 2] for number, tensor in enumerate(tensors)}
    for shard in names:
        save_file({name: tensors[name] for name in tensors if places[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the demo model with changes."""

    def make(name: str, *changes: MAKER) -> Path:
        folder = tmp_path / name
        shutil.copytree(demo_model(), folder)
        for change in changes:
            change(folder)
        return folder

    return make


@pytest.fixture
def parity(tmp_path: Path) -> Callable[..., Document]:
    """The document of a comparison that the command wrote, with its exit code beside it."""

    def compare(*arguments: str | Path, tasks: str = "arc_easy", limit: int = 4, code: int = 0) -> Document:
        out = tmp_path / "parity.json"
        given = [
            "--tasks",
            tasks,
            "--limit",
            str(limit),
            "--sample",
            "--executor",
            "local",
            "--output",
            str(out),
        ]
        told = run(["parity", *given, "--store", str(tmp_path / "store.db"), *map(str, arguments)])
        document: Document = json.loads(out.read_text())
        Draft202012Validator(parity_schema()).validate(document)
        assert told == code
        return document

    return compare


def kinds(document: Document) -> list[str]:
    """The causes of the only comparison, those that touched nothing in brackets."""
    (comparison,) = document["comparisons"]
    return [f"({each['kind']})" if each["requests"] == 0 else each["kind"] for each in comparison["causes"]]


def cause(document: Document, kind: str) -> Document:
    (found,) = [each for each in document["comparisons"][0]["causes"] if each["kind"] == kind]
    return dict(found)


def two(first: Path, other: Path, backend: str = "reference") -> Sequence[str]:
    return ["--backends", backend, "--model", str(first), "--model", str(other)]


def on(first: Path, hf: Path) -> Sequence[str]:
    present("hf")
    return ["--backends", "reference,hf", "--model", f"reference={first}", "--model", f"hf={hf}"]


# ---- one cause ------------------------------------------------------------------------------------------


def test_identical_sides_differ_in_nothing(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two")), tasks="arc_easy,gsm8k")
    assert kinds(found) == []
    (comparison,) = found["comparisons"]
    assert comparison["scores"]["largest"] == 0
    assert comparison["flips"]["changed"] == 0
    assert comparison["texts"] == {"n": 4, "equal": 4, "parting": None}
    assert comparison["divergence"] is None
    assert comparison["equal_ids"] == comparison["requests"] == 20


def test_a_merge_that_is_missing(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", without_merge)))
    assert kinds(found) == ["tokenizer"]
    told = cause(found, "tokenizer")
    assert told["basis"] == "shown"
    assert told["requests"] == 4 < told["n"]
    assert (
        "' the' is '▁the' (371) to one · reference, and '▁t' (354), 'he' (356) to two · reference"
        in told["evidence"]
    )
    assert "merge 18 is '▁t he' against '▁th e'" in told["evidence"]
    (comparison,) = found["comparisons"]
    assert comparison["control"]["largest"] < 1e-9, "with the same ids nothing differs"
    lines = comparison["divergence"]["lines"]
    parted = [line for line in lines if not line["other"] or not line["first"]]
    assert [line["other"]["text"] for line in parted] == ["he"], "two tokens stand beside one"
    assert {line["difference"] is None for line in lines if line["part"] == "continuation"} == {False}


def test_a_doubled_bos(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", doubled_bos)))
    assert kinds(found) == ["bos"]
    assert cause(found, "bos")["requests"] == 16
    assert "'<s>' (1), '<s>' (1) for two" in cause(found, "bos")["evidence"]
    assert "doubled" in cause(found, "bos")["evidence"]


def test_a_missing_bos(parity: Any, model: Any) -> None:
    bare = edited("tokenizer.json", lambda whole: whole.update(post_processor=None))
    found = parity(*two(model("one"), model("two", bare)))
    assert kinds(found) == ["bos"]
    assert "nothing for two" in cause(found, "bos")["evidence"]
    assert "missing" in cause(found, "bos")["evidence"]


def test_a_bos_that_the_definition_does_not_call_special(parity: Any, model: Any) -> None:
    def plain(whole: Document) -> None:
        whole["added_tokens"] = [{**each, "special": False} for each in whole["added_tokens"]]

    unmarked = edited("tokenizer.json", plain)
    found = parity(*two(model("one", unmarked), model("two", unmarked, doubled_bos)), limit=1)
    assert kinds(found) == ["bos"]
    assert "doubled on one side" in cause(found, "bos")["evidence"]
    found = parity(*two(model("three"), model("four", unmarked, doubled_bos)), limit=1)
    assert kinds(found) == ["bos"]
    assert "doubled on one side" in cause(found, "bos")["evidence"]


def test_a_definition_is_parsed_once_for_all_requests(parity: Any, model: Any) -> None:
    from slmeval.parity.tokens import specials

    before = specials.cache_info().misses
    parity(*two(model("one"), model("two", doubled_bos)))
    assert specials.cache_info().misses == before + 2


def test_weights_are_compared_where_nothing_could_be_answered(parity: Any, model: Any) -> None:
    def spoil(folder: Path) -> None:
        _rewrite(folder, lambda tensors: tensors[MATRIX].fill(np.nan))

    found = parity(*two(model("one"), model("two", spoil)), code=3)
    assert kinds(found) == ["weights"]
    told = cause(found, "weights")
    assert told["requests"] is None
    assert MATRIX in told["evidence"]
    assert "are infinite or no number on one side" in told["evidence"]


def test_another_template_touched_nothing(parity: Any, model: Any) -> None:
    pytest.importorskip("jinja2")
    trimmed = TEMPLATE.replace("m.content", "m.content | trim")
    found = parity(*two(model("one", chat(TEMPLATE)), model("two", chat(trimmed))))
    assert kinds(found) == ["(template)"]
    assert "of probing conversation 2" in cause(found, "template")["evidence"]
    assert "nothing was asked through a template" in cause(found, "template")["evidence"]


def test_without_jinja2_the_texts_of_templates_are_compared(
    parity: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval.parity.templates.can_render", lambda: False)
    found = parity(*two(model("one", chat(TEMPLATE)), model("two", chat(TEMPLATE + "{# a remark #}"))))
    assert kinds(found) == ["(template)"]
    assert "not rendered: pip install 'slmeval[chat]'" in cause(found, "template")["evidence"]


def test_templates_that_render_alike_are_no_cause(parity: Any, model: Any) -> None:
    pytest.importorskip("jinja2")
    found = parity(*two(model("one", chat(TEMPLATE)), model("two", chat(TEMPLATE + "{# a remark #}"))))
    assert kinds(found) == []
    assert any(
        "render 2 of 2 probing conversations alike" in told for told in found["comparisons"][0]["ruled_out"]
    )


def test_templates_of_which_nothing_is_rendered_tell_nothing(parity: Any, model: Any) -> None:
    pytest.importorskip("jinja2")
    one, two_ = ("{{ raise_exception('no system prompts') }}", "{{ raise_exception('no users') }}")
    found = parity(*two(model("one", chat(one)), model("two", chat(two_))), limit=1)
    assert kinds(found) == []
    (comparison,) = found["comparisons"]
    assert not any("template" in told for told in comparison["ruled_out"])
    assert any("no system prompts" in told for told in comparison["untold"])
    # a template that takes no system prompt renders what it can
    half = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    found = parity(*two(model("three", chat(half)), model("four", chat(half + "{# a remark #}"))), limit=1)
    assert any("1 of 2 probing conversations alike" in told for told in found["comparisons"][0]["ruled_out"])


def test_a_shorter_context(parity: Any, model: Any) -> None:
    # five shots of gsm8k and 256 tokens of answer do not fit 300 positions
    found = parity(
        *two(model("one"), model("two", short_context)), "--shots", "5", tasks="arc_easy,gsm8k", limit=2
    )
    assert kinds(found) == ["truncation"]
    assert cause(found, "truncation")["requests"] == 2
    assert (
        "two · reference has a context of 300 and was asked without the first"
        in cause(found, "truncation")["evidence"]
    )


def test_a_shuffled_weight(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", shuffled)), tasks="arc_easy,gsm8k", limit=2)
    assert kinds(found) == ["weights"]
    told = cause(found, "weights")
    assert told["basis"] == "shown"
    assert told["evidence"].startswith(f"1 of 38 tensors hold other numbers, first {MATRIX}: ")
    assert told["evidence"].endswith("its rows are the other's in another order")
    (comparison,) = found["comparisons"]
    assert comparison["texts"]["equal"] == 0
    assert comparison["texts"]["parting"]["first"] != comparison["texts"]["parting"]["other"]
    assert comparison["control"]["n"] == 4, "both texts were followed on both sides, and both tokens asked"
    assert {flip["first_margin"] for flip in comparison["flips"]["shown"] if flip["cell"] == "gsm8k@5"} == {
        None
    }


def test_the_same_numbers_stored_wider_are_no_cause(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", widened)))
    assert kinds(found) == []


def test_the_same_numbers_in_shards_are_no_cause(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", in_shards)))
    assert kinds(found) == []
    found = parity(*two(model("three", in_shards), model("four", shuffled)), limit=2)
    assert kinds(found) == ["weights"]
    assert MATRIX in cause(found, "weights")["evidence"]


def test_weights_that_are_rounded_to_another_type(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", in_bfloat16)))
    assert kinds(found) == ["dtype"]
    assert cause(found, "dtype")["basis"] == "shown"
    assert "stored as F16 and as BF16" in cause(found, "dtype")["evidence"]


def test_two_tokens_that_change_places_in_the_vocabulary(parity: Any, model: Any) -> None:
    def swap(whole: Document) -> None:
        vocabulary = whole["model"]["vocab"]
        vocabulary["▁the"], vocabulary["▁a"] = vocabulary["▁a"], vocabulary["▁the"]

    found = parity(*two(model("one"), model("two", edited("tokenizer.json", swap))))
    assert kinds(found) == ["tokenizer"]
    assert (
        "2 tokens of the vocabulary differ, first '▁the': 371 against 393"
        in cause(found, "tokenizer")["evidence"]
    )
    assert found["comparisons"][0]["control"] is None, "the ids are other tokens: they cannot be asked there"


def test_long_texts_are_compared_over_their_windows(parity: Any, model: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows" / "wikitext"
    rows.mkdir(parents=True)
    text = "The bogger sleeps in the hedges. " * 60
    (rows / "test.jsonl").write_text(json.dumps({"page": text}) + "\n")
    out = tmp_path / "parity.json"
    given = ["--tasks", "wikitext", "--data", str(rows.parent), "--output", str(out)]
    sides = two(model("one"), model("two", short_context))
    assert run(["parity", *sides, *given, "--store", str(tmp_path / "store.db")]) == 0
    found = json.loads(out.read_text())
    assert kinds(found) == ["truncation"]
    assert re.search(
        r"one · reference .* with all of it and two .* in 2 windows", cause(found, "truncation")["evidence"]
    )
    # the first token that differs is the first of the second window
    lines = found["comparisons"][0]["divergence"]["lines"]
    apart = next(line for line in lines if line["difference"] and abs(line["difference"]) > 1e-3)
    assert apart["first"]["position"] == 301


def test_another_model(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", other_theta)))
    assert kinds(found) == ["model"]
    assert "rope_theta is 10000.0 against 5000.0" in cause(found, "model")["evidence"]


def test_float32_rounds_and_no_more(parity: Any, model: Any) -> None:
    one = model("one")
    found = parity(*on(one, one), "--dtype", "float32", tasks="arc_easy,gsm8k")
    assert kinds(found) == ["rounding"]
    assert found["comparisons"][0]["divergence"] is None
    assert any("same files" in told for told in found["comparisons"][0]["ruled_out"])


def test_another_dtype(parity: Any, model: Any) -> None:
    one = model("one")
    found = parity(*on(one, one), "--dtype", "bfloat16", limit=8)
    assert kinds(found) == ["dtype"]
    told = cause(found, "dtype")
    assert told["basis"] == "inferred"
    assert told["evidence"].startswith("float64 against bfloat16: ")
    (comparison,) = found["comparisons"]
    assert 1e-3 < comparison["scores"]["largest"] < 1
    assert comparison["divergence"]["lines"][-1]["difference"] == pytest.approx(
        comparison["divergence"]["other"] - comparison["divergence"]["first"]
    )


def test_a_change_that_one_engine_shows_is_the_models_however_small(parity: Any, model: Any) -> None:
    one, two_ = model("one"), model("two", near_theta)
    found = parity(*two(one, two_))
    assert kinds(found) == ["model"]
    assert 0 < found["comparisons"][0]["scores"]["largest"] < 1e-3
    # two engines round as much by themselves
    found = parity(*on(one, two_), "--dtype", "float32")
    assert kinds(found) == ["(model)", "rounding"]
    assert "no more effect" in cause(found, "model")["evidence"]
    assert not any("model" in told for told in found["comparisons"][0]["ruled_out"])


def test_a_setting_that_one_side_alone_gives(parity: Any, model: Any) -> None:
    present("hf")
    found = parity(*two(model("one"), model("two", scaled), "hf"), limit=1)
    assert kinds(found) == ["model"]
    told = cause(found, "model")
    assert told["evidence"] == "rope_scaling is not given against {'rope_type': 'linear', 'factor': 2.0}"
    assert told["basis"] == "shown"
    # another engine may do so unasked
    found = parity(*on(model("three"), model("four", scaled)), "--dtype", "float32", limit=1)
    assert kinds(found) == ["model"]
    assert cause(found, "model")["basis"] == "inferred"


def test_entries_that_compute_nothing_are_no_model(parity: Any, model: Any) -> None:
    named = edited("config.json", lambda whole: whole.update(architectures=["LlamaModel"], mlp_dropout=0.1))
    plain = edited("config.json", lambda whole: whole["rope_parameters"].pop("rope_type"))
    found = parity(*on(model("one"), model("two", named, plain, untied)), "--dtype", "bfloat16")
    assert kinds(found) == ["dtype"]
    (told,) = found["comparisons"][0]["untold"]
    assert told.endswith("architectures is ['LlamaForCausalLM'] against ['LlamaModel']")


def test_an_unknown_setting_is_not_the_engines_fault(
    parity: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, WRITER)
    shifted = edited("config.json", lambda whole: whole.update(unheard_of=3.0))
    found = parity(*two(model("one"), model("two", shifted), "writer"), limit=1)
    assert kinds(found) == ["model"]
    assert cause(found, "model")["basis"] == "inferred"
    assert "unheard_of is not given against 3.0" in cause(found, "model")["evidence"]


def test_a_model_does_not_hide_a_dtype(parity: Any, model: Any) -> None:
    found = parity(*on(model("one"), model("two", near_theta)), "--dtype", "bfloat16")
    assert kinds(found) == ["model", "dtype"]
    assert (cause(found, "model")["requests"], cause(found, "dtype")["requests"]) == (None, 16)


def test_weights_that_touched_nothing(parity: Any, model: Any) -> None:
    one, two_ = model("one", untied), model("two", unused_row)
    found = parity(*on(one, two_), "--dtype", "float32")
    assert kinds(found) == ["(weights)", "rounding"]
    found = parity(*on(one, two_), "--dtype", "bfloat16")
    assert kinds(found) == ["weights", "dtype"]
    assert cause(found, "weights")["requests"] is None


def test_the_same_weights_under_other_names(parity: Any, model: Any) -> None:
    found = parity(*on(model("one"), model("two", of_older_libraries)), "--dtype", "float32")
    assert kinds(found) == ["rounding"]
    assert "weights: all 38 tensors hold the same numbers" in found["comparisons"][0]["ruled_out"]


def test_an_output_matrix_is_held_against_the_embedding_that_it_was(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two", other_head)))
    assert kinds(found) == ["weights"]
    assert cause(found, "weights")["evidence"].startswith(f"1 of 39 tensors hold other numbers, first {HEAD}")


# ---- two at once -----------------------------------------------------------------------------------------


def test_a_doubled_bos_and_bfloat16(parity: Any, model: Any) -> None:
    found = parity(*on(model("one"), model("two", doubled_bos)), "--dtype", "bfloat16")
    assert kinds(found) == ["bos", "dtype"]
    (comparison,) = found["comparisons"]
    assert comparison["equal_ids"] == 0
    assert comparison["same_ids"] is None
    # what is left where both are asked the same ids is the dtype's part
    assert comparison["control"]["n"] == 16
    assert comparison["control"]["mean"] < comparison["scores"]["mean"]


def test_a_missing_merge_and_a_shuffled_weight(parity: Any, model: Any) -> None:
    found = parity(*on(model("one"), model("two", without_merge, shuffled)), "--dtype", "float32")
    assert kinds(found) == ["tokenizer", "weights"]
    assert (cause(found, "tokenizer")["requests"], cause(found, "weights")["requests"]) == (4, 16)


def test_a_template_and_a_shorter_context(parity: Any, model: Any) -> None:
    pytest.importorskip("jinja2")
    found = parity(*two(model("one"), model("two", short_context, chat(TEMPLATE))), tasks="gsm8k", limit=2)
    assert kinds(found) == ["truncation", "(template)"]
    assert "one · reference has no chat template" in cause(found, "template")["evidence"]


# ---- engines -----------------------------------------------------------------------------------------------


def test_llama_cpp_on_its_own_form(parity: Any) -> None:
    present("llamacpp")
    found = parity("--backends", "reference,llamacpp", "--dtype", "float32")
    assert kinds(found) == ["rounding"]
    found = parity("--backends", "reference,llamacpp", "--dtype", "float32", "-o", "kv_type=q4_0")
    assert kinds(found) == ["kv_cache"]
    assert "kept as float64 against q4_0" in cause(found, "kv_cache")["evidence"]
    assert any(told.startswith("attention: ") for told in found["comparisons"][0]["untold"])


def test_a_quantized_file_against_a_folder(parity: Any, model: Any, tmp_path: Path) -> None:
    present("llamacpp")
    from slmeval.types import ModelRef

    (tmp_path / "gguf").mkdir()
    converter = load().parts.converters["llamacpp"]()
    made = converter.convert(ModelRef(str(demo_model("gguf"))), "Q4_K_M", str(tmp_path / "gguf"))
    given = ["--model", f"reference={model('one')}", "--model", f"llamacpp={made.location}"]
    found = parity("--backends", "reference,llamacpp", *given, limit=16)
    assert kinds(found) == ["dtype"]
    assert "Q4_K_M" in cause(found, "dtype")["evidence"]
    assert any(told.startswith("kv_cache: ") for told in found["comparisons"][0]["untold"])


def changed_gguf(path: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(demo_model("gguf").read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def reversed_rows(content: bytearray) -> None:
    (tensor,) = [
        each for each in read_gguf(demo_model("gguf")).tensors if each.name == "blk.2.ffn_down.weight"
    ]
    place = slice(tensor.offset, tensor.offset + tensor.bytes)
    rows = np.frombuffer(content[place], "f2").reshape(tensor.shape[::-1])
    content[place] = rows[::-1].tobytes()


def other_freq_base(content: bytearray) -> None:
    key = b"llama.rope.freq_base"
    place = content.index(key) + len(key) + 4
    assert struct.unpack_from("<f", content, place) == (10000.0,)
    struct.pack_into("<f", content, place, 5000.0)


def test_two_files_of_one_engine(parity: Any, tmp_path: Path) -> None:
    present("llamacpp")
    from slmeval.types import ModelRef

    one, two_ = demo_model("gguf"), changed_gguf(tmp_path / "two.gguf", reversed_rows)
    found = parity(*two(one, two_, "llamacpp"), limit=1)
    assert kinds(found) == ["weights"]
    assert "1 of 38 tensors hold other numbers, first blk.2.ffn_down" in cause(found, "weights")["evidence"]
    # however much of it rounding to so few bits would explain
    converter, quantized = load().parts.converters["llamacpp"](), []
    for place in (one, two_):
        folder = tmp_path / f"Q2_K of {place.stem}"
        folder.mkdir()
        quantized.append(converter.convert(ModelRef(str(place)), "Q2_K", str(folder)).location)
    found = parity(*two(*quantized, "llamacpp"), limit=1)
    assert kinds(found) == ["weights"]
    assert cause(found, "weights")["basis"] == "shown"


def test_a_setting_of_a_file(parity: Any, tmp_path: Path) -> None:
    present("llamacpp")
    found = parity(*two(demo_model("gguf"), changed_gguf(tmp_path / "two.gguf", other_freq_base), "llamacpp"))
    assert kinds(found) == ["model"]
    assert cause(found, "model")["evidence"] == "rope.freq_base is 10000.0 against 5000.0"
    assert "weights: all 38 tensors hold the same numbers" in found["comparisons"][0]["ruled_out"]


def test_a_quantized_folder_against_its_source(parity: Any, model: Any, tmp_path: Path) -> None:
    present("mlx")
    from slmeval.types import ModelRef

    (tmp_path / "mlx").mkdir()
    made = (
        load().parts.converters["mlx"]().convert(ModelRef(str(demo_model())), "4bit", str(tmp_path / "mlx"))
    )
    given = ["--model", f"reference={model('one')}", "--model", f"mlx={made.location}"]
    assert kinds(parity("--backends", "reference,mlx", *given, limit=2)) == ["dtype"]


def test_weights_that_cannot_be_compared_are_inferred(parity: Any, model: Any) -> None:
    present("llamacpp")
    given = ["--model", f"llamacpp={demo_model('gguf')}", "--model", f"reference={model('one', shuffled)}"]
    found = parity("--backends", "llamacpp,reference", *given, "--dtype", "float32")
    assert kinds(found) == ["weights"]
    told = cause(found, "weights")
    assert told["basis"] == "inferred"
    assert "more than the declared arithmetic explains" in told["evidence"]
    assert "could not be compared" in told["evidence"]


def test_a_decoder_that_makes_other_texts_of_the_same_tokens(parity: Any, model: Any) -> None:
    bare = edited("tokenizer.json", lambda whole: whole.update(decoder={"type": "ByteFallback"}))
    found = parity(*on(model("one"), model("two", bare)), "--dtype", "float32", tasks="gsm8k", limit=1)
    assert kinds(found) == ["tokenizer"]
    assert "the same token ids decode to" in cause(found, "tokenizer")["evidence"]
    assert not any(told.startswith("tokenizer") for told in found["comparisons"][0]["ruled_out"])


WRITER = """
import json
from pathlib import Path

from slmeval import hookimpl
from slmeval.api import Backend, Option
from slmeval.registry import load
from slmeval.types import Completion, Likelihood


class Writer(Backend):
    name = "writer"
    options = (Option("mode", str, "same", "what it does to a text"),)

    def __init__(self, model, options):
        self._inner, self._mode = load().parts.backends["reference"](model, {"threads": 1}), options["mode"]
        self._shift = json.loads((Path(model.location) / "config.json").read_text()).get("unheard_of", 0.0)

    def model_info(self):
        return self._inner.model_info()

    def score(self, groups):
        for group in self._inner.score(groups):
            yield tuple(
                Likelihood(tuple(each - self._shift for each in one.token_logprobs), one.greedy)
                for one in group
            )

    def generate(self, prompts, settings, decode):
        for found in self._inner.generate(prompts, settings, decode):
            ids, text = found.ids, found.text
            if self._mode == "short":
                ids = ids[:5]
            elif self._mode == "wrong":
                ids = (*ids[:3], ids[3] + 1, *ids[4:])
            yield Completion(text + " " if self._mode == "text" else decode(ids), ids, found.reason)


@hookimpl
def slmeval_register_backends():
    return [Writer]
"""


@pytest.mark.parametrize(
    ("mode", "basis", "told"),
    [
        ("short", "shown", "5 tokens of demo · writer, the same as far as both go"),
        ("text", "shown", "the same tokens became"),
        ("wrong", "inferred", "demo · writer wrote a token that has"),
    ],
)
def test_an_engine_that_writes_otherwise_than_it_scores(
    mode: str, basis: str, told: str, parity: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, WRITER)
    found = parity("--backends", "reference,writer", "-o", f"mode={mode}", tasks="gsm8k", limit=1)
    assert kinds(found) == ["engine"]
    assert told in cause(found, "engine")["evidence"]
    assert cause(found, "engine")["basis"] == basis


SERVER = """
from slmeval import hookimpl
from slmeval.api import Backend
from slmeval.types import Completion, ModelInfo, Served


class Served_(Backend):
    name = "served"
    forms = ("server",)
    capabilities = frozenset({"generate"})

    @classmethod
    def look_up(cls, model):
        return Served(model.location, 2048)

    def __init__(self, model, options):
        self._text = model.location.partition("#")[2]

    def model_info(self):
        return ModelInfo("unknown", 0, 0, "unknown", "unknown", 2048, 0, "served", "1")

    def notes(self):
        return ("server-tokenized: prompts are sent as text",)

    def score(self, groups):
        raise NotImplementedError

    def generate(self, prompts, settings, decode):
        for prompt in prompts:
            yield Completion(self._text, (), "length")


@hookimpl
def slmeval_register_backends():
    return [Served_]
"""


def test_a_server_that_makes_its_own_tokens(
    parity: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, SERVER)
    served = ["--model", "served=http://127.0.0.1:9/v1#one", "--model", "served=http://127.0.0.1:9/v1#two"]
    given = ["--backends", "reference,served", "--model", f"reference={model('here')}", *served]
    found = parity(*given, "--max-flips", "0", tasks="gsm8k", limit=2, code=1)
    for comparison in found["comparisons"]:
        assert [each["kind"] for each in comparison["causes"]] == ["server"]
        assert "server-tokenized" in comparison["causes"][0]["evidence"]
        assert comparison["equal_ids"] is None
        assert comparison["texts"]["equal"] == 0
        assert comparison["texts"]["parting"]["tokens"] is None
        assert any("same token ids" in told for told in comparison["untold"])


def test_a_server_that_does_not_take_the_ids_of_a_tokenizer(
    parity: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, SERVER)
    one = model("one")
    given = ["--model", f"reference={one}", "--model", "served=http://127.0.0.1:9/v1#one"]
    for _ in "asked", "found in the store":
        found = parity("--backends", "reference,served", *given, "--tokenizer", one, tasks="gsm8k", limit=1)
        assert kinds(found) == ["server"]
        (comparison,) = found["comparisons"]
        assert comparison["equal_ids"] is None
        assert not any("token ids" in told for told in comparison["ruled_out"])


def test_an_engine_that_computes_something_else(
    parity: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch)
    found = parity("--backends", "reference,toy", tasks="arc_easy", limit=2)
    # the files are the same, and both say that they compute in float64
    assert kinds(found) == ["engine"]
    assert cause(found, "engine")["basis"] == "inferred"


def test_an_engine_that_fails_is_told_and_the_others_compared(
    parity: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch)
    one = model("one")
    given = ["--model", str(one), "--model", f"reference={model('two', doubled_bos)}", "-o", "trouble=open"]
    found = parity("--backends", "reference,toy", *given, code=3)
    assert [each["backend"] for each in found["failures"]] == ["toy"]
    assert "no such weights" in found["failures"][0]["reason"]
    by_side = {each["side"]: each for each in found["comparisons"]}
    assert [each["kind"] for each in by_side["two · reference"]["causes"]] == ["bos"]
    assert by_side["one · toy"]["scores"] is None
    assert by_side["one · toy"]["causes"] == []


def test_an_engine_whose_tokenizer_is_another(
    parity: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch)
    found = parity("--backends", "reference,toy", "-o", "trouble=tokenizer", code=3)
    assert kinds(found) == ["tokenizer"]
    assert "'a' is 1 here and 2 there" in cause(found, "tokenizer")["evidence"]


# ---- the command -------------------------------------------------------------------------------------------


def test_tolerances_decide_the_exit_code(parity: Any, model: Any) -> None:
    given = two(model("one"), model("two", shuffled))
    kept = parity(*given, "--tolerance", "100", "--max-flips", "16")
    assert [gate["verdict"] for gate in kept["gates"]] == ["kept", "kept"]
    broken = parity(*given, "--tolerance", "1e-3", "--max-flips", "16", code=1)
    assert [gate["verdict"] for gate in broken["gates"]] == ["broken", "kept"]
    flips = broken["comparisons"][0]["flips"]["changed"]
    if flips:
        parity(*given, "--max-flips", str(flips - 1), code=1)


def test_a_tolerance_of_what_nobody_was_asked_is_inconclusive(parity: Any, model: Any) -> None:
    found = parity(*two(model("one"), model("two")), "--tolerance", "1", tasks="gsm8k", limit=1, code=4)
    assert found["gates"][0]["found"] is None


def test_a_text_whose_answer_changes_is_a_flip(parity: Any, model: Any) -> None:
    parity(*two(model("one"), model("two", shuffled)), "--max-flips", "0", tasks="gsm8k", limit=2, code=1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--backends", "reference"], "two sides"),
        (["--backends", "reference,reference"], "two sides"),
        (["--backends", "reference,nobody"], "unknown backend"),
        (["--backends", "reference,hf", "--tolerance", "-1"], "--tolerance -1"),
        (["--backends", "reference,hf", "--tolerance", "nan"], "--tolerance nan"),
        (["--backends", "reference,hf", "--tolerance", "inf"], "--tolerance inf"),
        (["--backends", "reference,hf", "--max-flips", "-1"], "--max-flips -1"),
        (["--backends", "reference,hf", "--format", "csv"], "md and json"),
        (["--backends", "reference,hf", "--output", "there/is/no/folder.md"], "no folder"),
        (["--backends", "reference,hf", "--output", "/proc/slmeval.md"], "--output /proc/slmeval.md"),
    ],
)
def test_mistakes_end_with_one_sentence(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["parity", *arguments, "--store", str(tmp_path / "store.db")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


@pytest.mark.slow
def test_without_tasks_the_bundled_rows_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Any
) -> None:
    given = two(model("one"), model("two", doubled_bos))
    assert run(["parity", *given, "--limit", "1", "--store", str(tmp_path / "store.db")]) == 0
    text = capsys.readouterr().out
    assert "hellaswag at 0 shots: 1 rows of a sample" in text
    assert "gsm8k at 5 shots" in text
    assert "**They differ: bos.**" in text


# ---- readers -----------------------------------------------------------------------------------------------


def test_the_schema_has_every_field() -> None:
    schema = parity_schema()
    records = [each for each in vars(report).values() if is_dataclass(each) and isinstance(each, type)]
    for record in records:
        part = schema if record is report.Parity else schema["$defs"][record.__name__]
        assert set(part["properties"]) - {"schema"} == {each.name for each in fields(record)}
        assert set(part["required"]) == set(part["properties"])


def test_the_markdown_is_for_readers(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Any) -> None:
    given = two(model("one"), model("two", without_merge))
    arguments = ["--tasks", "arc_easy", "--sample", "--limit", "4", "--store", str(tmp_path / "store.db")]
    assert run(["parity", *given, *arguments]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Parity: 2 sides\n")
    assert "## two · reference against one · reference" in text
    assert "**They differ: tokenizer.** 16 requests of 4 questions, 12 of them with equal token ids." in text
    assert "- **tokenizer** (shown, 4 of 16 requests): " in text
    assert "control: the same ids on both sides" in text
    row = next(line for line in text.splitlines() if "' the'" in line and line.startswith("|"))
    assert [part.strip() for part in row.split("|")[1:6]] == ["context", "5", "' the'", "371", ""]
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(line) for line in table.splitlines()}) == 1


HOSTILE = "x|y\n\x1b[31mred\x1b[0m \x1b]0;title\x07\r\u202e`<b>`\x9b2J [a](b) *c* _d_"


def test_hostile_text_is_harmless_in_markdown() -> None:
    from slmeval.parity.markdown import to_markdown

    token = report.Token(0, 1, HOSTILE, -1.0)
    line = report.Line("context", 0, token, token, 0.0)
    whole = report.Divergence(HOSTILE, 0, 0, -1.0, -2.0, (line,), 0)
    flip = report.Flip(HOSTILE, 0, HOSTILE, None, None, None)
    comparison = report.Comparison(
        side=HOSTILE,
        against=HOSTILE,
        questions=1,
        requests=1,
        equal_ids=1,
        scores=report.Spread(1, 1.0, 1.0, HOSTILE, 1, 1.0, 1.0),
        same_ids=None,
        control=None,
        flips=report.Flips(1, 1, (flip,)),
        texts=report.Texts(1, 0, report.Parting(HOSTILE, 0, 0, HOSTILE, HOSTILE)),
        causes=(report.Cause("server", "shown", HOSTILE, 1, 1),),
        ruled_out=(HOSTILE,),
        untold=(HOSTILE,),
        divergence=whole,
    )
    side = report.SideReport(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        1,
        HOSTILE,
        HOSTILE,
        1,
        {},
        (HOSTILE,),
        (),
    )
    parity = report.Parity(
        HOSTILE,
        HOSTILE,
        "done",
        False,
        {},
        (report.Asked(HOSTILE, HOSTILE, 0, 1, True, HOSTILE),),
        (side,),
        (comparison,),
        (report.Gate("tolerance", HOSTILE, 1.0, 2.0, "broken"),),
        (report.Failed(HOSTILE, HOSTILE, HOSTILE),),
    )
    text = to_markdown(parity)
    assert not set(text) & set("\x1b\x9b\x07\r\u202e")
    assert not re.search(r"(?<!\\)<|(?<!\\)`|(?<!\\)\[", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


# ---- chat templates are programs of strangers -----------------------------------------------------------


#: uses what templates use: blocks whose line ends count, a namespace, filters, a break out of a loop
LIKE_CHATML = """{{- bos_token }}
{%- set seen = namespace(system=false) %}
{% for message in messages %}
    {% if message['role'] == 'system' %}
        {% set seen.system = true %}
    {% endif %}
{{ '<|im_start|>' + message['role'] }}
{{ message['content'] | trim | tojson }}<|im_end|>
    {% if loop.index > 9 %}
        {% break %}
    {% endif %}
{% endfor %}
{% if not seen.system %}
no system prompt
{% endif %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""


def rendered(template: str) -> Any:
    pytest.importorskip("jinja2")
    from slmeval.rendering import render

    (found,) = render(template, [({"role": "user", "content": "Hi."},)], {"bos_token": "<s>"})
    return found


def test_templates_render_as_in_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("jinja2")
    from slmeval.parity.templates import PROBES
    from slmeval.rendering import render

    own = transformers.AutoTokenizer.from_pretrained(demo_model())
    marks = {"bos_token": own.bos_token, "eos_token": own.eos_token}
    settings = {"tokenize": False, "add_generation_prompt": True, "chat_template": LIKE_CHATML}
    theirs = [own.apply_chat_template(list(chat), **settings) for chat in PROBES]
    assert [each.text for each in render(LIKE_CHATML, PROBES, marks)] == theirs
    assert theirs[1].count("<|im_start|>") == 5


def test_a_template_gets_marks_and_a_fixed_date() -> None:
    text = rendered("{{ bos_token }}{% generation %}{{ messages[0].content }}{% endgeneration %}")
    assert text.text == "<s>Hi."
    assert rendered("{{ strftime_now('%Y') }}").text == "2025"
    assert rendered("{{ {'a': '<é>'} | tojson }}").text == '{"a": "<é>"}'


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ '%10000000000d' % 1 }}",
        "{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{{ raise_exception('no system prompts') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}",
        "{% include '/etc/passwd' %}",
        "{% if %}",
    ],
    ids=["loops", "long", "wide", "much", "refuses", "breaks out", "peeps", "includes", "broken"],
)
@pytest.mark.slow
def test_a_hostile_template_gives_a_trouble(template: str) -> None:
    begun = time.monotonic()
    found = rendered(template)
    assert time.monotonic() - begun < 100
    assert found.text is None
    assert found.trouble


def test_a_template_sees_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    from slmeval import rendering

    monkeypatch.setattr(rendering, "_CHILD", "import os, sys; sys.stdout.write(repr(dict(os.environ)))")
    with rendering._child([]) as child:
        assert b"secret" not in child.stdout.read()


# ---- tokens side by side -----------------------------------------------------------------------------------


def test_pieces_of_characters_and_marks_are_told() -> None:
    from slmeval.parity.tokens import segments, texts_of
    from slmeval.tokenizing import read_tokenizer

    tokenizer = read_tokenizer(demo_model(), "demo")
    ids = tokenizer.encode("Hé 🙂 ok")
    texts = texts_of(tokenizer, ids)
    assert "".join(texts) == "Hé 🙂 ok"
    assert texts[0] == "", "a mark has no text"
    doubled = (ids[0], *ids)
    found = segments(ids, doubled, texts, texts_of(tokenizer, doubled))
    assert [each for each in found if each.first[0] == each.first[1]], "one mark stands alone"
    assert sum(end - begin for begin, end in (each.first for each in found)) == len(ids)
    assert sum(end - begin for begin, end in (each.other for each in found)) == len(doubled)


def test_texts_that_are_not_the_same_are_a_cause_of_their_own(tmp_path: Path, model: Any) -> None:
    """As they will be once a model's own template stands around a question."""
    from slmeval.parity.causes import explain
    from slmeval.parity.control import Control
    from slmeval.parity.sides import Side, pairs
    from slmeval.parity.view import View
    from slmeval.planner import plan
    from slmeval.types import RunOptions

    options = RunOptions(
        ("reference",), (str(model("one")), str(model("two"))), ("gsm8k",), limit=1, sample=True
    )
    jobs = plan(options, load().parts, str).jobs
    sides = [Side(job.label, job, None, (), {}) for job in jobs]
    (pair,) = pairs(sides[0], sides[1])
    request = replace(pair.other.request, prompt="user: " + pair.other.request.prompt)
    asks = tuple(replace(ask, prompt=(7, *ask.prompt)) for ask in pair.other.asks)
    changed = replace(pair, other=replace(pair.other, request=request, asks=asks))
    found = explain(View((changed,), sides[0], sides[1], Control(), str))
    assert [(each.kind, each.requests) for each in found.causes] == [("template", 1)]
    assert "user: " in found.causes[0].evidence
