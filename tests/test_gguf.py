"""GGUF files: what the header says, every way in which it can be damaged, and the tokenizer in it."""

from __future__ import annotations

import ctypes
import random
import re
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT
from gguf_vocabularies import write_vocabulary

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf, shards_of
from slmeval.gguf_tokenizer import tokenizer_of
from slmeval.models import find_model, parse_model
from slmeval.tokenizing import read_tokenizer

pytest.importorskip("gguf", reason="the library that writes GGUF files is not installed")

DEMO = ROOT / "slmeval" / "demo" / "model.gguf"


@pytest.fixture(scope="module")
def texts(shared_data: Path) -> list[str]:
    """Real rows, and what tokenizers differ in."""
    files = sorted(shared_data.rglob("*.jsonl"))
    rows = [row for file in files for row in file.read_text(encoding="utf-8").splitlines()[:40]]
    spaces = ["", " ", "  a", "x  \n\n y\t", "a\r\nb"]
    return [*rows, *spaces, "123 4567 89", "DON'T we'll I'M", "ÆØÅ ßtraße", "日本語 한국어", "🙂👍🏽"]


# ---- the header -----------------------------------------------------------------------------------------


def test_the_header_says_what_the_model_is() -> None:
    header = read_gguf(DEMO)
    assert header.architecture == "llama"
    assert header.of_architecture("context_length") == 2048
    assert header.quantization == "F16"
    assert header.weights == 3_672_320
    # norms are in float32
    assert header.bits_per_weight == pytest.approx(16.01, abs=0.005)


def test_tensors_are_found_where_they_lie() -> None:
    import gguf

    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(DEMO).tensors}
    for tensor in read_gguf(DEMO).tensors:
        with tensor.path.open("rb") as file:
            file.seek(tensor.offset)
            assert file.read(tensor.bytes) == theirs[tensor.name].data.tobytes()


@pytest.mark.parametrize("size", [0, 3, 4, 12, 24, 25, 100, 5000, 50_000, 100_000, 7_000_000, 7_396_895])
def test_a_file_that_is_cut_short_is_told_in_one_sentence(tmp_path: Path, size: int) -> None:
    whole = DEMO.read_bytes()
    assert size < len(whole)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:size])
    with pytest.raises(ModelError, match=r"cut\.gguf is (empty|damaged|cut short|not a GGUF file)"):
        read_gguf(cut)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"PK\3\4" + bytes(60), r"not a GGUF file: it begins with b'PK"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(60), "version 1; 2 and 3 are read here"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(60), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(60), "holds no weights"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + bytes(60), "ends in the middle"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0) + bytes(60), f"has {1 << 60} tensors"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + bytes(60), "ends in the middle"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 99) + bytes(60), "a value of type 99"),
        (
            b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 6, 1 << 50) + bytes(60),
            "arrays hold more than 16777216 items",
        ),
    ],
)
def test_what_is_no_model_is_told_in_one_sentence(tmp_path: Path, start: bytes, told: str) -> None:
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(start)
    with pytest.raises(ModelError, match=told):
        read_gguf(odd)


ARRAY, BYTES, TEXT = 9, 0, 8


@pytest.mark.parametrize(
    ("start", "left", "told"),
    [
        (
            struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", ARRAY, BYTES, 2**24 + 1),
            2**24 + 1,
            "more than 16777216 items",
        ),
        (
            struct.pack("<QQQ1sIIQIQ", 0, 1, 1, b"k", ARRAY, ARRAY, 2, BYTES, 2**24 - 1),
            2**25,
            "more than 16777216 items",
        ),
        (struct.pack("<QQQ1sIQ", 0, 1, 1, b"k", TEXT, 2**27), 2**27, "more than 134217728 bytes"),
        (struct.pack("<QQ", 2**20 + 1, 0), 24 * (2**20 + 1), "it has 1048577 tensors"),
    ],
)
def test_a_header_that_fills_memory_is_refused(tmp_path: Path, start: bytes, left: int, told: str) -> None:
    """Files that are as long as they say, of nothing but holes."""
    odd = tmp_path / "odd.gguf"
    with odd.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<I", 3) + start)
        file.truncate(file.tell() + left)
    with pytest.raises(ModelError, match=told):
        read_gguf(odd)


def test_no_flipped_byte_of_a_header_ends_in_a_traceback(tmp_path: Path) -> None:
    whole = DEMO.read_bytes()
    draw, damaged = random.Random(5), tmp_path / "damaged.gguf"
    read = 0
    for _ in range(120):
        content = bytearray(whole[:60_000]) + whole[60_000:]
        for _ in range(draw.choice((1, 3, 20))):
            content[draw.randrange(4, 60_000)] = draw.randrange(256)
        damaged.write_bytes(content)
        with suppress(ModelError):
            header = read_gguf(damaged)
            read += 1
            tokenizer_of(header, damaged)
    # many bytes belong to texts of tokens, and some to lengths
    assert 20 < read < 120


def test_a_model_in_pieces_is_named_by_its_first(tmp_path: Path) -> None:
    first = tmp_path / "big-00001-of-00002.gguf"
    first.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"lacks big-00002-of-00002\.gguf, a piece of big-00001"):
        shards_of(first)
    second = tmp_path / "big-00002-of-00002.gguf"
    second.write_bytes(b"GGUF")
    assert shards_of(first) == (first, second)
    with pytest.raises(ModelError, match=r"name the first one, big-00001-of-00002\.gguf"):
        shards_of(second)


# ---- as a model ------------------------------------------------------------------------------------------


def test_a_gguf_file_is_a_model_under_any_name(tmp_path: Path) -> None:
    copy = tmp_path / "other.gguf"
    copy.write_bytes(DEMO.read_bytes())
    one, other = (find_model(parse_model(str(path)), _whole) for path in (DEMO, copy))
    assert one.form == other.form == "gguf"
    assert one.sha256 == other.sha256
    assert one.context == 2048
    assert other.local.location == str(copy)


def _whole(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tokenizer_beside_the_file_is_the_models(tmp_path: Path, demo_model: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(DEMO.read_bytes())
    inside = find_model(parse_model(str(copy)), _whole).tokenizer()
    assert inside.origin == "the tokenizer in the GGUF file"
    for file in demo_model.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    beside = find_model(parse_model(str(copy)), _whole).tokenizer()
    assert beside.sha256 == read_tokenizer(demo_model, "").sha256
    assert (beside.bos_id, beside.end_ids) == (inside.bos_id, inside.end_ids) == (1, (2,))


# ---- the tokenizer ---------------------------------------------------------------------------------------


def test_pieces_with_scores_are_the_demo_models_own_tokenizer(texts: list[str], demo_model: Path) -> None:
    inside, own = tokenizer_of(read_gguf(DEMO), DEMO), read_tokenizer(demo_model, "")
    for text in texts:
        assert inside.encode(text) == own.encode(text)
        assert inside.decode(inside.encode(text)) == own.decode(own.encode(text))


@pytest.mark.parametrize(
    "pre", ["smollm", "gpt-2", "llama-bpe", "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o"]
)
def test_words_are_cut_as_llama_cpp_cuts_them(
    tmp_path: Path, shared_tokenizer: Path, texts: list[str], pre: str
) -> None:
    path = write_vocabulary(tmp_path / "v.gguf", shared_tokenizer / "tokenizer.json", pre)
    ours = tokenizer_of(read_gguf(path), path)
    with _vocabulary_in_llama_cpp(path) as theirs:
        for text in texts:
            assert list(ours.encode(text)) == theirs.encode(text), text


def test_bytes_cut_as_the_family_cuts_them_are_its_own_tokenizer(
    tmp_path: Path, shared_tokenizer: Path, texts: list[str]
) -> None:
    path = write_vocabulary(tmp_path / "v.gguf", shared_tokenizer / "tokenizer.json", "smollm")
    inside, own = tokenizer_of(read_gguf(path), path), read_tokenizer(shared_tokenizer, "")
    assert [inside.encode(text) for text in texts] == [own.encode(text) for text in texts]


def test_marks_are_put_where_the_file_says(tmp_path: Path, shared_tokenizer: Path) -> None:
    def encode(**says: object) -> tuple[int, ...]:
        path = write_vocabulary(tmp_path / "v.gguf", shared_tokenizer / "tokenizer.json", "gpt-2", **says)
        return tokenizer_of(read_gguf(path), path).encode("a")

    (plain,) = encode()
    assert encode(add_bos_token=True) == (1, plain)
    assert encode(add_bos_token=True, add_eos_token=True) == (1, plain, 2)
    path = write_vocabulary(tmp_path / "v.gguf", shared_tokenizer / "tokenizer.json", "gpt-2", eot_token_id=7)
    assert tokenizer_of(read_gguf(path), path).end_ids == (2, 7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pre": "made-up"}, "cuts words in a way named 'made-up'"),
        ({"model": "t5"}, "is of kind 't5'"),
        ({"merges": ("a b", "c")}, "a merge that is no pair"),
        ({"tokens": ()}, "as many of"),
        ({"tokens": None}, "has no tokens"),
        ({"model": "llama", "scores": ("a",) * 49152}, "scores are no numbers"),
    ],
)
def test_a_tokenizer_that_is_not_read_here_asks_for_a_file(
    tmp_path: Path, shared_tokenizer: Path, change: dict[str, object], told: str
) -> None:
    path = write_vocabulary(tmp_path / "v.gguf", shared_tokenizer / "tokenizer.json", "gpt-2")
    header = read_gguf(path)
    for key, value in change.items():
        header.metadata[f"tokenizer.ggml.{key}"] = value  # type: ignore[index]  # a dictionary underneath
    with pytest.raises(ModelError, match=f"{re.escape(told)}.*--tokenizer"):
        tokenizer_of(header, path)


class _Vocabulary:
    """llama.cpp's own tokenizer of a file, weights left out."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self._engine = llama_cpp
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        assert self._model
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        count = self._engine.llama_tokenize(self._vocabulary, data, len(data), ids, len(ids), True, True)
        assert count >= 0
        return ids[:count]

    def __enter__(self) -> _Vocabulary:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.llama_model_free(self._model)


def _vocabulary_in_llama_cpp(path: Path) -> _Vocabulary:
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")
    return _Vocabulary(path)
