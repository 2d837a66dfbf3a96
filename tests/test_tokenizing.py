"""Context and continuation as token ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmeval.errors import ModelError
from slmeval.tokenizing import Encoder, FastTokenizer, read_tokenizer
from slmeval.types import Score


def words(tmp_path: Path, *, bos: bool, names: dict[str, str] | None = None) -> Path:
    """A folder with a tokenizer of one token per word, which marks the beginning of a text or not."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {"<s>": 0, "</s>": 1, "?": 2, "one": 3, "two": 4, "three": 5, "onetwo": 6}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>"} if names is None else names
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    return tmp_path


def encoder(folder: Path) -> Encoder:
    return Encoder(read_tokenizer(folder, "test"))


def test_the_continuation_is_what_the_whole_text_has_beyond_the_context(tmp_path: Path) -> None:
    (split,) = encoder(words(tmp_path, bos=False)).splits([Score("one two", " three")])
    assert (split.context, split.continuation, split.merged) == ((3, 4), (5,), False)


def test_bos_is_added_once_and_only_where_the_tokenizer_adds_it(tmp_path: Path) -> None:
    folder = words(tmp_path, bos=True)
    plain, marked = encoder(folder).splits([Score("one", " two"), Score("<s> one", " two")])
    assert plain.context == marked.context == (0, 3)
    assert plain.continuation == marked.continuation == (4,)


def test_white_space_at_the_end_of_a_context_moves_to_the_continuation(tmp_path: Path) -> None:
    moved, plain = encoder(words(tmp_path, bos=False)).splits([Score("one  ", "two"), Score("one", "  two")])
    assert moved == plain


def test_a_token_over_the_boundary_is_counted(tmp_path: Path) -> None:
    (split,) = encoder(words(tmp_path, bos=False)).splits([Score("one", "two three")])
    assert split.merged
    # as lm-evaluation-harness has it: as many tokens as the context alone has are taken away
    assert (split.context, split.continuation) == ((3,), (5,))


@pytest.mark.parametrize(
    ("names", "first"), [({"bos_token": "<s>", "eos_token": "</s>"}, 0), ({"eos_token": "</s>"}, 1)]
)
def test_an_empty_context_is_bos_or_else_eos(tmp_path: Path, names: dict[str, str], first: int) -> None:
    splits = encoder(words(tmp_path, bos=False, names=names)).splits([Score("", "one"), Score("  ", "one")])
    assert [split.context for split in splits] == [(first,), (first,)]
    assert splits[0].continuation == (3,)


def test_an_empty_context_without_bos_and_eos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither BOS nor EOS"):
        encoder(words(tmp_path, bos=False, names={"unk_token": "?"})).splits([Score("", "one")])


def test_settings_left_over_from_training_neither_cut_nor_pad(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = words(tmp_path, bos=False)
    trained = Tokenizer.from_file(str(folder / "tokenizer.json"))
    trained.enable_truncation(2)
    trained.enable_padding(length=4)
    trained.save(str(folder / "tokenizer.json"))
    tokenizer = read_tokenizer(folder, "test")
    assert tokenizer.encode("one") == (3,)
    assert tokenizer.encode_many(["one two three", "one"]) == [(3, 4, 5), (3,)]


@pytest.mark.parametrize("damage", ["", "{", '{"version": "1.0"}', "[]"])
def test_a_damaged_tokenizer_is_one_sentence(tmp_path: Path, damage: str) -> None:
    (tmp_path / "tokenizer.json").write_text(damage)
    with pytest.raises(ModelError, match="cannot be read"):
        read_tokenizer(tmp_path, "the tokenizer.json here")


def test_a_folder_without_a_tokenizer_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--tokenizer"):
        read_tokenizer(tmp_path, "test")


def test_the_hash_is_of_the_definition(tmp_path: Path) -> None:
    definition = (words(tmp_path, bos=False) / "tokenizer.json").read_text()
    left, right = (FastTokenizer(text, "a", 0, 1) for text in (definition, definition + " "))
    assert left.sha256 != right.sha256


@pytest.mark.parametrize(
    ("names", "older", "config", "generation", "expected"),
    [
        # GPT-2: its files name neither
        ({"model_max_length": 1024}, None, {"bos_token_id": 1, "eos_token_id": 1}, None, (1, 1, (1,))),
        ({"model_max_length": 1024}, {"eos_token": {"content": "</s>"}}, {}, None, (None, 1, (1,))),
        ({"bos_token": None, "eos_token": "</s>"}, None, {"bos_token_id": 0}, None, (None, 1, (1,))),
        ({"tokenizer_class": "TokenizersBackend"}, None, {"eos_token_id": 1}, None, (None, None, (1,))),
        ({}, None, {"eos_token_id": 1}, {"eos_token_id": [1, 5, 6]}, (None, 1, (1, 5, 6))),
        ({"eos_token": "</s>"}, None, {"eos_token_id": 5}, {"eos_token_id": 6}, (None, 1, (1, 6))),
        ({}, None, {}, {"bos_token_id": 0, "eos_token_id": True}, (0, None, ())),
    ],
)
def test_bos_eos_and_ends_are_those_that_the_folder_names_or_else_its_config(
    tmp_path: Path,
    names: dict[str, object],
    older: object,
    config: object,
    generation: object,
    expected: tuple[object, ...],
) -> None:
    folder = words(tmp_path, bos=False, names=names)
    files = {"special_tokens_map": older, "config": config, "generation_config": generation}
    for name, held in files.items():
        if held is not None:
            (folder / f"{name}.json").write_text(json.dumps(held))
    tokenizer = read_tokenizer(folder, "test")
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.end_ids) == expected


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", {"type": "WordLevel", "vocab": {"one": 0}, "unk_token": "<gone>"}),
        ("model", {"type": "Unigram", "vocab": [["one", 0.0]], "unk_id": None}),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ("pre_tokenizer", {"type": "FixedLength", "length": 0}),
    ],
)
def test_a_tokenizer_that_fails_at_a_text_is_one_sentence(tmp_path: Path, part: str, value: object) -> None:
    folder = words(tmp_path, bos=False)
    definition = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**definition, part: value}))
    with pytest.raises(ModelError, match=r"^the tokenizer here cannot [^\n]*$"):
        read_tokenizer(folder, "the tokenizer here").encode_many(["one unheard", "of"])
