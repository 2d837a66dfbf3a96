"""Text to token ids, once, for every engine: which tokenizer, the BOS rules, and where a context ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slmeval.api import Tokenizer
from slmeval.errors import ModelError
from slmeval.types import Score, TokenIds

#: the origin of what is no tokenizer, but text handed on
TEXT_ORIGIN = "none: the server is given text"


class FastTokenizer(Tokenizer):
    """A ``tokenizer.json``, read by the ``tokenizers`` library.

    ``end_ids`` are the tokens that end a text: EOS, and those that the model's configuration adds.

    :raises ModelError: the definition cannot be read, or fails at a text.
    """

    def __init__(
        self, definition: str, origin: str, bos_id: int | None, eos_id: int | None, end_ids: TokenIds = ()
    ) -> None:
        self.definition = definition
        self.origin = origin
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.sha256 = hashlib.sha256(definition.encode()).hexdigest()
        self.end_ids = tuple(dict.fromkeys(end_ids if eos_id is None else (eos_id, *end_ids)))
        self._inner = _parse(definition, origin)

    def encode(self, text: str, *, special: bool = True) -> TokenIds:
        with _failures(self.origin, "cannot encode a text"):
            return tuple(self._inner.encode(text, add_special_tokens=special).ids)

    def encode_many(self, texts: Sequence[str], *, special: bool = True) -> list[TokenIds]:
        with _failures(self.origin, "cannot encode a text"):
            encodings = self._inner.encode_batch_fast(list(texts), add_special_tokens=special)
        return [tuple(encoding.ids) for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        with _failures(self.origin, "cannot decode a text"):
            return str(self._inner.decode(list(ids), skip_special_tokens=True))

    @property
    def size(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def token(self, token_id: int) -> str | None:
        """The text of one token as the vocabulary writes it."""
        found = self._inner.id_to_token(token_id)
        return None if found is None else str(found)

    def find(self, token: str) -> int | None:
        """The id of a token written as in the vocabulary."""
        found = self._inner.token_to_id(token)
        return None if found is None else int(found)

    def special(self, text: str) -> TokenIds:
        """The special token that is written so, or all tokens of a text that has such in it; else none."""
        found = self.find(text)
        ids = self.encode(text, special=False) if found is None else (found,)
        added = self._inner.get_added_tokens_decoder()
        return ids if any(token in added and added[token].special for token in ids) else ()

    def ends_at(self, stop: Sequence[str]) -> TokenIds:
        """The ids at which a text ends: ``end_ids``, and every special token that holds a stop string.

        Decoding leaves special tokens out, so no look at the text would find such a stop.
        lm-evaluation-harness keeps them in where it looks (``lm_eval/models/utils_hf.py``).
        """
        added = self._inner.get_added_tokens_decoder()
        special = {number: token.content for number, token in sorted(added.items()) if token.special}
        held = [number for number, text in special.items() if any(part and part in text for part in stop)]
        return tuple(dict.fromkeys((*self.end_ids, *held)))


def _parse(definition: str, origin: str) -> Any:
    from tokenizers import Tokenizer as Inner

    with _failures(origin, "cannot be read as a tokenizer"):
        inner = Inner.from_str(definition)
    # a definition may carry the settings of its training; they would cut and pad our prompts
    inner.no_truncation()
    inner.no_padding()
    return inner


@contextmanager
def _failures(origin: str, what: str) -> Iterator[None]:
    """Whatever the library raises over a damaged definition, as one sentence."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  plain Exception is its narrowest, and Rust's panic is none
        raise ModelError(f"{origin} {what}: {' '.join(str(error).split())}") from None


def read_tokenizer(path: Path, origin: str) -> FastTokenizer:
    """The tokenizer of a model folder, or of a ``tokenizer.json`` with its neighbours.

    BOS and EOS are those that ``tokenizer_config.json`` or ``special_tokens_map.json`` names, else
    ``config.json``'s ids. A text also ends where transformers ends it: at each ``eos_token_id`` of
    ``generation_config.json``, or of ``config.json`` where that file is missing.

    :raises ModelError: there is none, or it is damaged.
    """
    file = path if path.is_file() else path / "tokenizer.json"
    if not file.is_file():
        raise ModelError(
            f"{path} has no tokenizer.json: give a folder or a file that has one with --tokenizer"
        )
    try:
        definition = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
    bare = FastTokenizer(definition, origin, None, None)
    names = _names(file)
    config, generation = (
        read_json(file.with_name(name)) for name in ("config.json", "generation_config.json")
    )
    bos, eos = (_special(bare, names, (config, generation), which) for which in ("bos", "eos"))
    return FastTokenizer(definition, origin, bos, eos, _ids(generation or config, "eos"))


@cache
def text_tokenizer() -> FastTokenizer:
    """For servers that are given text: each byte of it (in UTF-8) is a token, and decoding gives it again.

    It stands in for a tokenizer that is not known; ids of it mean nothing to any model.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    cut = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    signs = sorted(ByteLevel.alphabet())
    definition = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": cut,
        "decoder": cut,
        "model": {"type": "BPE", "vocab": {sign: at for at, sign in enumerate(signs)}, "merges": []},
    }
    # an empty context needs something to stand for it, and is never sent
    return FastTokenizer(json.dumps(definition), TEXT_ORIGIN, 0, None)


def _names(file: Path) -> dict[str, Any]:
    """What is said of the tokenizer; of two files transformers believes the older one, unless the newer
    one lists its tokens (``tokenization_utils_base.py``)."""
    newer = read_json(file.with_name("tokenizer_config.json"))
    older = read_json(file.with_name("special_tokens_map.json"))
    return {**older, **newer} if "added_tokens_decoder" in newer else {**newer, **older}


def special_texts(path: Path) -> dict[str, str]:
    """The texts of the special tokens that are named beside a ``tokenizer.json``, by ``bos_token`` and so on.

    :raises ModelError: a file is damaged.
    """
    names = _names(path if path.is_file() else path / "tokenizer.json")
    told = {name: each.get("content") if isinstance(each, dict) else each for name, each in names.items()}
    return {name: text for name, text in told.items() if name.endswith("_token") and isinstance(text, str)}


#: classes that stand for no family of models: transformers gives them no special tokens of their own
_NO_FAMILY = ("PreTrainedTokenizerFast", "TokenizersBackend")


def _special(
    tokenizer: FastTokenizer, names: Mapping[str, Any], configs: Sequence[Mapping[str, Any]], which: str
) -> int | None:
    key = f"{which}_token"
    if key in names:
        named = names[key]
        text = named.get("content") if isinstance(named, dict) else named
        # null says that there is none, whatever the model's config has
        return tokenizer.find(text) if isinstance(text, str) else None
    if names.get("tokenizer_class") in _NO_FAMILY:
        return None
    # GPT-2's files name neither; the family's defaults are the ids of its config
    return next((ids[0] for config in configs if (ids := _ids(config, which))), None)


def _ids(config: Mapping[str, Any], which: str) -> TokenIds:
    found = config.get(f"{which}_token_id")
    several = found if isinstance(found, list) else [found]
    return tuple(number for number in several if isinstance(number, int) and not isinstance(number, bool))


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; an empty one where there is no such file.

    :raises ModelError: the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is damaged: it holds no JSON object")
    return value


@dataclass(frozen=True)
class Split:
    """A context and a continuation as token ids.

    ``merged``: the tokenizer joins characters over the boundary, so that the ids of the two together
    do not begin with the context's own.
    """

    context: TokenIds
    continuation: TokenIds
    merged: bool = False


class Encoder:
    """Encodes requests as lm-evaluation-harness 0.4.13 does, each distinct text once.

    Its rules (``lm_eval/api/model.py``, ``models/huggingface.py``): trailing white space of the context
    moves to the continuation; the continuation is what the whole text has beyond as many tokens as the
    context alone has; an empty context becomes BOS (or EOS); a text that already begins with BOS gets
    no second one.
    """

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self._tokenizer = tokenizer
        self._prefix = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
        self._prefix_text = None if self._prefix is None else tokenizer.token(self._prefix)

    @property
    def first(self) -> int:
        """What stands before a text that nothing stands before: BOS, or EOS where there is none.

        :raises ModelError: the tokenizer has neither.
        """
        if self._prefix is None:
            raise ModelError(
                f"{self._tokenizer.origin} names neither BOS nor EOS, one of which an empty context needs"
            )
        return self._prefix

    def texts(self, texts: Sequence[str]) -> dict[str, TokenIds]:
        """Ids of each distinct text, BOS added where the tokenizer adds one."""
        distinct = list(dict.fromkeys(texts))
        marked = [text for text in distinct if self._begins_with_prefix(text)]
        plain = [text for text in distinct if not self._begins_with_prefix(text)]
        many = self._tokenizer.encode_many
        return {
            **dict(zip(marked, many(marked, special=False), strict=True)),
            **dict(zip(plain, many(plain), strict=True)),
        }

    def splits(self, requests: Sequence[Score]) -> list[Split]:
        """Context and continuation ids of each request.

        :raises ModelError: a context is empty and the tokenizer has neither BOS nor EOS.
        """
        moved = [_move_space(request) for request in requests]
        wanted = [text for pair in moved if pair.context for text in _texts(pair)]
        ids = self.texts(wanted)
        return [self._split(pair, ids) for pair in moved]

    def _split(self, pair: Score, ids: Mapping[str, TokenIds]) -> Split:
        if not pair.context:
            return self._after_nothing(pair.continuation)
        context, whole = ids[pair.context], ids[pair.context + pair.continuation]
        return Split(context, whole[len(context) :], merged=whole[: len(context)] != context)

    def _after_nothing(self, continuation: str) -> Split:
        ids = self._tokenizer.encode(continuation, special=False)
        if ids[:1] == (self.first,):
            return Split(ids[:1], ids[1:])
        return Split((self.first,), ids)

    def _begins_with_prefix(self, text: str) -> bool:
        return self._prefix_text is not None and text.startswith(self._prefix_text)


def _move_space(request: Score) -> Score:
    kept = request.context.rstrip()
    return Score(kept, request.context[len(kept) :] + request.continuation)


def _texts(pair: Score) -> tuple[str, str]:
    return pair.context, pair.context + pair.continuation
