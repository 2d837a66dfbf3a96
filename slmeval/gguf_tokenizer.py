"""The tokenizer that lies in a GGUF file, as a ``tokenizer.json``.

Two kinds are read, which cover most small models: "llama" (SentencePiece's BPE, whose merges follow from
scores) and "gpt2" (byte-level BPE, whose merges are listed, and whose way of cutting a text into words is
named but not told: the expressions behind the names are those of ``src/llama-vocab.cpp`` in llama.cpp, as
the families' own ``tokenizer.json`` write them). For others the user names a ``tokenizer.json``. An engine
that has a tokenizer of its own holds it against this one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import GGUFHeader
from slmeval.tokenizing import FastTokenizer

Json = dict[str, Any]

#: kinds of tokens (``llama_token_type``)
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}|"
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHED}"
_GPT4O = (
    rf"{_WORD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_WORD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|"
    rf"\p{{N}}{{1,3}}|{_SLASHED}"
)


@dataclass(frozen=True)
class _Cut:
    """How a text is cut into words before merges: GPT-2's way where ``expression`` is empty.

    ``digits`` stand alone first; ``whole``: a word that is a token needs no merges; ``bos``: BOS is put
    first where the file does not say.
    """

    names: tuple[str, ...]
    expression: str = ""
    digits: bool = False
    whole: bool = False
    bos: bool = False


_CUTS = (
    _Cut(("gpt-2", "phi-2", "olmo", "mpt", "jais", "mellum", "exaone4", "gigachat", "trillion")),
    _Cut(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), digits=True),
    _Cut(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2", "midm-2.0"),
        _LLAMA3,
        whole=True,
        bos=True,
    ),
    _Cut(("dbrx", "smaug-bpe"), _LLAMA3),
    _Cut(("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "kormo"), _QWEN2),
    _Cut(("qwen35",), _QWEN35),
    _Cut(("tekken",), _TEKKEN, whole=True, bos=True),
    _Cut(("gpt-4o", "llama4", "kanana2"), _GPT4O),
)
_CUT_OF = {name: cut for cut in _CUTS for name in cut.names}


def tokenizer_of(header: GGUFHeader, path: Path) -> FastTokenizer:
    """The tokenizer in the file's metadata; a text ends at its EOS, its end of turn, its end of message.

    :raises ModelError: there is none, it is damaged, or of a kind that is not read here.
    """
    metadata = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in header.metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    vocabulary = _Vocabulary(metadata, path, str(header.metadata.get("general.name", "")))
    kinds = {"llama": _sentencepiece, "gpt2": _byte_level}
    if metadata.get("model") not in kinds:
        raise vocabulary.refused(f"is of kind {metadata.get('model')!r}")
    definition = kinds[metadata["model"]](vocabulary)
    ends = tuple(
        number
        for name in ("eos", "eot", "eom")
        if (number := vocabulary.special(f"{name}_token_id")) is not None
    )
    return FastTokenizer(
        json.dumps(definition, ensure_ascii=False),
        "the tokenizer in the GGUF file",
        vocabulary.special("bos_token_id"),
        vocabulary.special("eos_token_id"),
        ends,
    )


class _Vocabulary:
    """The tokens of a GGUF file, checked: texts, kinds, special ids.

    :raises ModelError: there are none, or lists that belong together differ in length.
    """

    def __init__(self, metadata: Mapping[str, Any], path: Path, model: str) -> None:
        self.metadata = metadata
        self._path = path
        self._model = model.lower()
        self.tokens = self.texts("tokens")
        self.kinds = self._numbers("token_type", _NORMAL)

    def refused(self, why: str) -> ModelError:
        return ModelError(
            f"the tokenizer in {self._path} {why}: name a tokenizer.json of the same model with --tokenizer"
        )

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.metadata.get(key)
        if not isinstance(found, tuple) or not all(isinstance(text, str) for text in found):
            raise self.refused(f"has no {key}")
        return found

    def _numbers(self, key: str, default: int) -> tuple[Any, ...]:
        found = self.metadata.get(key, (default,) * len(self.tokens))
        if not isinstance(found, tuple) or len(found) != len(self.tokens):
            raise self.refused(f"is damaged: {len(self.tokens)} tokens, and not as many of {key}")
        if not all(isinstance(number, (int, float)) for number in found):
            raise self.refused(f"is damaged: {key} are no numbers")
        return found

    @property
    def scores(self) -> tuple[float, ...]:
        return self._numbers("scores", 0)

    def special(self, key: str) -> int | None:
        """The id of a special token, ``None`` where there is none."""
        number = self.metadata.get(key, self._default(key))
        return number if isinstance(number, int) and 0 <= number < len(self.tokens) else None

    def _default(self, key: str) -> int | None:
        # llama.cpp's own, for the one kind that has them
        defaults = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
        return defaults.get(key) if self.metadata.get("model") == "llama" else None

    def says(self, key: str, default: bool) -> bool:
        return bool(self.metadata.get(key, default))

    def added(self) -> list[Json]:
        """Tokens that are found in a text before anything else; special ones are left out of decoded text."""
        return [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": self._takes_spaces(text),
                "normalized": False,
                "special": kind != _USER_DEFINED,
            }
            for number, (text, kind) in enumerate(zip(self.tokens, self.kinds, strict=True))
            if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED) and text
        ]

    def _takes_spaces(self, text: str) -> bool:
        """Whether a special token swallows the spaces behind it: Phi-3's do, which no field of GGUF says, and
        llama.cpp knows by the model's name as well."""
        phi3 = "phi-3" in self._model or "phi3" in self._model
        return phi3 and text not in ("<unk>", "<s>", "<|endoftext|>")

    def numbered(self) -> dict[str, int]:
        """Ids by text; of equal texts, the first."""
        found: dict[str, int] = {}
        for number, text in enumerate(self.tokens):
            found.setdefault(text, number)
        return found


def _definition(vocabulary: _Vocabulary, *, bos: bool, **parts: Any) -> Json:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "post_processor": _marks(vocabulary, bos),
        **parts,
    }


def _marks(vocabulary: _Vocabulary, bos: bool) -> Json | None:
    """BOS before and EOS behind a text, as the file says."""
    wanted = {"bos": vocabulary.says("add_bos_token", bos), "eos": vocabulary.says("add_eos_token", False)}
    ids = {name: vocabulary.special(f"{name}_token_id") for name, on in wanted.items() if on}
    texts = {name: vocabulary.tokens[number] for name, number in ids.items() if number is not None}
    if not texts:
        return None
    place = {name: [{"SpecialToken": {"id": text, "type_id": 0}}] for name, text in texts.items()}
    single = [*place.get("bos", ()), {"Sequence": {"id": "A", "type_id": 0}}, *place.get("eos", ())]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 0}}]
    special = {text: {"id": text, "ids": [ids[name]], "tokens": [text]} for name, text in texts.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


# ---- SentencePiece -----------------------------------------------------------------------------------


def _sentencepiece(vocabulary: _Vocabulary) -> Json:
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prefixed = vocabulary.says("add_space_prefix", True)
    unknown = vocabulary.special("unknown_token_id")
    return _definition(
        vocabulary,
        bos=True,
        normalizer={
            "type": "Sequence",
            "normalizers": [*([{"type": "Prepend", "prepend": "▁"}] if prefixed else []), space],
        },
        pre_tokenizer=None,
        decoder={
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else []),
            ],
        },
        model={
            "type": "BPE",
            "unk_token": None if unknown is None else vocabulary.tokens[unknown],
            "fuse_unk": True,
            "byte_fallback": _BYTE in vocabulary.kinds,
            "ignore_merges": False,
            "vocab": vocabulary.numbered(),
            "merges": _merges_by_score(vocabulary),
        },
    )


def _merges_by_score(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """SentencePiece joins the pair that makes the piece of the highest score; so these are the merges.

    Of pairs that make the same piece it takes the leftmost, which no list can say: those come by their ids.
    """
    numbers = {
        text: number
        for text, number in vocabulary.numbered().items()
        if vocabulary.kinds[number] in (_NORMAL, _USER_DEFINED)
    }
    found = []
    for text, number in numbers.items():
        pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [pair for pair in pairs if pair[0] in numbers and pair[1] in numbers]
        for left, right in known:
            found.append((-vocabulary.scores[number], numbers[left], numbers[right], (left, right)))
    return [pair for *_, pair in sorted(found)]


# ---- byte-level BPE -------------------------------------------------------------------------------------


def _byte_level(vocabulary: _Vocabulary) -> Json:
    named = vocabulary.metadata.get("pre")
    if named not in _CUT_OF:
        raise vocabulary.refused(f"cuts words in a way named {named!r}, which is not known here")
    cut = _CUT_OF[named]
    return _definition(
        vocabulary,
        bos=cut.bos,
        normalizer=None,
        pre_tokenizer={"type": "Sequence", "pretokenizers": list(_words(cut))},
        decoder={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        model={
            "type": "BPE",
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut.whole,
            "vocab": vocabulary.numbered(),
            "merges": _listed_merges(vocabulary),
        },
    )


def _words(cut: _Cut) -> Iterator[Json]:
    if cut.digits:
        yield {"type": "Digits", "individual_digits": True}
    if cut.expression:
        split = {"Regex": cut.expression}
        yield {"type": "Split", "pattern": split, "behavior": "Isolated", "invert": False}
    plain = not cut.expression
    yield {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": plain}


def _listed_merges(vocabulary: _Vocabulary) -> Sequence[tuple[str, str]]:
    pairs = [tuple(text.split(" ", 1)) for text in vocabulary.texts("merges")]
    if not all(len(pair) == 2 for pair in pairs):
        raise vocabulary.refused("is damaged: a merge that is no pair")
    return pairs  # type: ignore[return-value]  # each was seen to have two
