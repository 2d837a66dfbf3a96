"""The tokenizer: a byte-fallback BPE of 2,048 pieces in the manner of Llama 2.

Transformers reads merges, llama.cpp reads scores and merges any two neighbours
whose union is a piece. Both give the same ids when the merges are *all* pairs of
pieces that make a piece, in the order of the pieces, and the scores fall in that order.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from corpus import documents
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SIZE = 2048
SPACE = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ASCII = [chr(code) for code in range(33, 127)] + [SPACE]


def spaced() -> normalizers.Normalizer:
    """A space mark before the text and in place of each space."""
    return normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def learned_pieces(texts: Iterable[str]) -> list[str]:
    """The best pieces in the order in which they were found; none spans two words."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = spaced()
    word = Regex(rf"{SPACE}?[A-Za-z]+|{SPACE}|[0-9]|[^A-Za-z0-9\s{SPACE}]+")
    bpe.pre_tokenizer = pre_tokenizers.Split(word, "removed", invert=True)
    room = SIZE - len(SPECIAL) - len(BYTES)
    trainer = trainers.BpeTrainer(
        vocab_size=room, initial_alphabet=ASCII, show_progress=False, max_token_length=16
    )
    bpe.train_from_iterator(texts, trainer)
    ranked = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    return [piece for piece, _ in ranked]


def all_merges(pieces: list[str]) -> list[tuple[str, str]]:
    """Every pair of pieces whose union is a piece, in the order of the union."""
    known = set(pieces)
    return [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]


def padded(pieces: list[str]) -> list[str]:
    """Exactly as many pieces as there is room for; idle ones are single rare letters."""
    room = SIZE - len(SPECIAL) - len(BYTES)
    spare = (chr(code) for code in range(0xC0, 0x400) if chr(code).isalpha())
    return [*pieces, *islice(spare, max(0, room - len(pieces)))][:room]


def build(pieces: list[str]) -> Tokenizer:
    """The tokenizer over `pieces`, with `<s>` put before every text."""
    pieces = padded(pieces)
    vocab = {piece: rank for rank, piece in enumerate([*SPECIAL, *BYTES, *pieces])}
    made = Tokenizer(
        models.BPE(vocab, all_merges(pieces), unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    made.normalizer = spaced()
    made.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    made.add_special_tokens(SPECIAL)
    return made


def sample_text(count: int = 20000) -> Iterator[str]:
    """The first documents of the tokenizer's own seed."""
    return islice(documents("tokenizer"), count)


def make() -> Tokenizer:
    """The tokenizer, from nothing: always the same."""
    return build(learned_pieces(sample_text()))


if __name__ == "__main__":
    tokenizer = make()
    text = "Question: What does the welk eat?\nAnswer: <<12+3=15>>15 \u00fc\u4e16 apples.\n#### 7"
    encoded = tokenizer.encode(text)
    print(tokenizer.get_vocab_size(), encoded.tokens)
    assert tokenizer.decode(encoded.ids) == text
