"""The tokenizer of the run against the one in the GGUF file, as llama.cpp uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from slmeval.api import Tokenizer
from slmeval_llamacpp.native import library

#: what tokenizers differ in: spaces, line ends, digits, accents, scripts, and what needs several bytes
PROBES = (
    "",
    " ",
    "The quick brown fox jumps over the lazy dog.",
    " leading space",
    "two  spaces,   three,    four, trailing ",
    "\n",
    "line\nline\n\n\tline\r\n  line",
    "0 12 345 6789 3.14159 1,000,000 2²",
    "don't we're I'LL they’ve",
    "naïve Ærø ſtraße ﬁn e\u0301 Ω\u200bω",
    "日本語 한국어 العربية עברית हिन्दी ภาษาไทย Ελληνικά Русский",
    "🙂 👩‍👩‍👧 🇫🇷 \ufffd \x00 \x7f",
    "def f(x):\n    return x**2  # ~!@$%^&*()_+{}|:<>?",
    "https://example.org/a?b=c&d=%20e",
    "WORDWORD CamelCase snake_case ALLCAPS123",
)
#: words of the vocabulary in one text
_WORDS_AT_ONCE = 64
#: ``LLAMA_TOKEN_ATTR_NORMAL``
_NORMAL = 4


class OwnTokenizer:
    """The vocabulary of an opened model."""

    def __init__(self, vocab: Any, size: int) -> None:
        self._vocab, self.size = vocab, size

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids; marks such as ``<s>`` in the text are read as what they stand for."""
        content = text.encode()
        room = len(content) + 8
        while True:
            tokens = (library().llama_token * room)()
            count = library().llama_tokenize(self._vocab, content, len(content), tokens, room, special, True)
            if count >= 0 or -count <= room:
                return list(tokens[: max(count, 0)])
            room = -count

    def mark(self, token: int) -> str:
        """A token as the vocabulary writes it."""
        text: bytes = library().llama_vocab_get_text(self._vocab, token)
        return text.decode(errors="replace")

    def words(self) -> Iterator[str]:
        """Every ordinary token that is a text by itself, as it is written out."""
        attributes = map(library().llama_vocab_get_attr, [self._vocab] * self.size, range(self.size))
        for token, attribute in enumerate(attributes):
            if attribute & _NORMAL and (text := self._piece(token)).strip() and "\n" not in text:
                yield text

    def marks(self) -> Iterator[str]:
        """The marks that a text or a turn begins and ends with."""
        vocab = library()
        for ask in (vocab.llama_vocab_bos, vocab.llama_vocab_eos, vocab.llama_vocab_eot):
            if 0 <= (token := ask(self._vocab)) < self.size:
                yield self.mark(token)

    def _piece(self, token: int) -> str:
        room = 256
        buffer = (library().ctypes.c_char * room)()
        length = library().llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
        try:
            return bytes(buffer[: max(length, 0)]).decode()
        except UnicodeDecodeError:
            return ""


def first_difference(tokenizer: Tokenizer, own: OwnTokenizer) -> str | None:
    """One sentence on the first text that both encode differently, or ``None``.

    Asked are texts of every kind, the marks of the vocabulary, and then its every word, so that a merge
    that a word needs is found missing.
    """
    marks = [f"{mark}a {mark}\n{mark} b" for mark in own.marks()]
    texts = [*PROBES, *marks]
    found = _first(tokenizer, own, texts, special=True) or _first(tokenizer, own, texts, special=False)
    return found or _first_among_words(tokenizer, own, list(own.words()))


def _first_among_words(tokenizer: Tokenizer, own: OwnTokenizer, words: Sequence[str]) -> str | None:
    pages = [words[at : at + _WORDS_AT_ONCE] for at in range(0, len(words), _WORDS_AT_ONCE)]
    texts = ["\n".join(page) for page in pages]
    for page, text, ours in zip(pages, texts, tokenizer.encode_many(texts, special=False), strict=True):
        if list(ours) != own.encode(text, special=False):
            # the shortest example tells the most; some put a space where a text begins
            shorter = [text for word in page for text in (word, f"\n{word}")]
            return _first(tokenizer, own, [*shorter, text], special=False)
    return None


def _first(tokenizer: Tokenizer, own: OwnTokenizer, texts: Sequence[str], *, special: bool) -> str | None:
    for text, found in zip(texts, tokenizer.encode_many(texts, special=special), strict=True):
        ours, theirs = list(found), own.encode(text, special=special)
        if ours != theirs:
            marks = "with" if special else "without"
            return f"{text!r} ({marks} special tokens) is {ours} here, and {theirs} to llama.cpp"
        if any(token >= own.size for token in ours):
            return f"{text!r} is {ours} here, and the model knows {own.size} tokens only"
    return None
