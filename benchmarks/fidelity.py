"""What each engine and each number of bits does to the answers of the demo model: docs/fidelity.md.

    python benchmarks/fidelity.py [--write]

The float64 oracle is the truth. Every engine that is installed answers all bundled choices and 16 bundled
word problems, and reads the same texts token by token; some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slmeval.api import Backend
from slmeval.conversions import choose, convert
from slmeval.environments import python_of
from slmeval.gguf_file import read_gguf
from slmeval.models import find_model, parse_model
from slmeval.pairing import demo_model
from slmeval.planner import resolve_options
from slmeval.registry import Parts, load
from slmeval.store import Store
from slmeval.testing import evaluate
from slmeval.testing.answers import answers, predictions
from slmeval.tokenizing import read_tokenizer
from slmeval.types import Likelihood, ModelRef, Reply, RunOptions, TokenIds

PAGE = Path(__file__).parents[1] / "docs" / "fidelity.md"
CHOICES = ("arc", "hellaswag", "piqa", "icl_copy", "icl_recall", "icl_classify", "icl_labels")
TEXTS = RunOptions(tasks=("gsm8k",), limit=16)


@dataclass(frozen=True)
class Form:
    """One row of the table: an engine, a form of the demo model, and the arithmetic asked for."""

    engine: str
    name: str
    place: Path
    dtype: str
    bits: float


@dataclass(frozen=True)
class Answers:
    """What a form answered: replies by (cell, row), next-token log-probabilities [tokens, vocabulary]."""

    choices: Mapping[tuple[int, int], Sequence[Reply]]
    texts: Mapping[tuple[int, int], Sequence[Reply]]
    logprobs: np.ndarray
    version: str


@dataclass(frozen=True)
class Line:
    """A form against the oracle. Differences in nats, summed over a choice; divergence in nats per token."""

    form: Form
    largest: float
    mean: float
    divergence: float
    same_next: float
    flips: int
    asked: int
    texts_equal: int
    texts: int


def forms(parts: Parts, file_hash: Callable[[Path], str], cache: Path) -> Iterator[Form]:
    """The oracle first, then all that can be measured here."""
    folder, file = demo_model(), demo_model("gguf")
    here = {name for name, backend in parts.backends.items() if backend.missing() is None or python_of(name)}

    def made(wish: str, source: Path) -> Path:
        converter, form = choose(wish, parts.converters)
        found = find_model(parse_model(str(source)), file_hash)
        return convert(found, converter, form, file_hash, cache).place

    yield Form("reference", "float64", folder, "", 16)
    for dtype, bits in (("float32", 32), ("bfloat16", 16), ("float16", 16)):
        for engine in sorted({"hf", "vllm"} & here):
            yield Form(engine, dtype, folder, dtype, bits)
    if "llamacpp" in here:
        yield Form("llamacpp", "F32", made("llamacpp:F32", file), "float32", 32)
        for name in ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"):
            place = made(f"llamacpp:{name}", file)
            yield Form("llamacpp", name, place, "auto", read_gguf(place).bits_per_weight)
    if "mlx" in here:
        yield Form("mlx", "float32", folder, "float32", 32)
        yield Form("mlx", "float16", folder, "auto", 16)
        # quantized matrices in half precision take MLX forty times as long on a CPU
        for name, bits in (("8bit", 8.5), ("4bit", 4.5), ("2bit", 2.5)):
            yield Form("mlx", f"{name}, float32", made(f"mlx:{name}", folder), "float32", bits)


def replies(options: RunOptions, store: Path) -> tuple[dict[tuple[int, int], Sequence[Reply]], str]:
    """All replies of a run of one engine, by cell and row, and the engine's version."""
    result = evaluate(options, store)
    if result.status != "done":
        raise SystemExit(f"not measured: {result.failures}")
    found = {
        (cell, row): many
        for cell in range(len(result.cells))
        for row, many in answers(store, result.id, cell).items()
    }
    return found, str(result.models[0].options.get("version", ""))


def next_tokens_of(form: Form, file: Path) -> np.ndarray:
    """As :func:`next_tokens`, by way of ``file``, in a process of the engine's own interpreter."""
    python = python_of(form.engine) or sys.executable
    asked = [form.engine, form.dtype, str(form.place), str(file)]
    subprocess.run([python, __file__, "--next-tokens", *asked], check=True)
    return np.load(file)


def next_tokens(backend: type[Backend], options: RunOptions, place: Path) -> np.ndarray:
    """Log-probabilities of all next tokens after each token of the texts: [tokens, vocabulary]."""
    opened = backend(ModelRef(str(place)), resolve_options(backend, options))
    vocabulary = opened.model_info().vocabulary
    rows = []
    for ids in bundled_texts():
        for top in opened.top_logprobs(ids, vocabulary):
            row = np.empty(vocabulary)
            row[list(top.ids)] = top.logprobs
            # an engine's own sums are rounded (MLX's by 1e-5), which would pass for a divergence
            rows.append(row - np.log(np.exp(row).sum()))
    opened.close()
    return np.stack(rows)


def bundled_texts() -> list[TokenIds]:
    """32 word problems of the bundled rows with their solutions."""
    tokenizer = read_tokenizer(demo_model(), "")
    lines = (demo_model().parent / "rows" / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:32]]
    return [tokenizer.encode(f"{row['question']}\n{row['answer']}") for row in rows]


def measured(form: Form, store: Path) -> Answers:
    """Everything that is asked of one form."""
    options = RunOptions(
        backends=(form.engine,),
        models=(str(form.place),),
        tasks=CHOICES,
        sample=True,
        dtype=form.dtype or None,
    )
    texts = replace(options, tasks=TEXTS.tasks, limit=TEXTS.limit)
    choices, version = replies(options, store)
    return Answers(
        choices,
        replies(texts, store)[0],
        next_tokens_of(form, store.with_name("next.npy")),
        version,
    )


def compared(form: Form, ours: Answers, oracle: Answers) -> Line:
    differences = [
        abs(_sum(one) - _sum(other))
        for key in oracle.choices
        for one, other in zip(ours.choices[key], oracle.choices[key], strict=True)
    ]
    gaps = (np.exp(oracle.logprobs) * (oracle.logprobs - ours.logprobs)).sum(axis=1)
    same = ours.logprobs.argmax(axis=1) == oracle.logprobs.argmax(axis=1)
    before, after = predictions(oracle.choices), predictions(ours.choices)
    return Line(
        form,
        max(differences),
        float(np.mean(differences)),
        float(gaps.mean()),
        float(same.mean()),
        sum(before[key] != after[key] for key in before),
        len(before),
        sum(ours.texts[key] == oracle.texts[key] for key in oracle.texts),
        len(oracle.texts),
    )


def _sum(reply: Reply) -> float:
    assert isinstance(reply, Likelihood)
    return reply.logprob


def page(lines: Sequence[Line], versions: Sequence[str], tokens: int, model: str) -> str:
    """docs/fidelity.md."""
    rows = "\n".join(
        f"| `{line.form.engine}` | {line.form.name} | {line.form.bits:.2f} | {line.largest:.1e} "
        f"| {line.mean:.1e} | {line.divergence:.1e} | {100 * line.same_next:.1f}% "
        f"| {line.flips} of {line.asked} | {line.texts_equal} of {line.texts} |"
        for line in lines
    )
    return f"""# How near the engines are, and what bits cost

The bundled demo model (hash {model}, stored in float16) on every engine, against the float64 oracle
(`reference`). Token ids are the same everywhere, so that what differs is arithmetic and weights alone. This
page is generated: `python benchmarks/fidelity.py --write`.

- **largest, mean**: differences of a choice's summed log-probability, in nats, over all choices of eight
  bundled tasks ({lines[0].asked} questions).
- **divergence**: Kullback-Leibler divergence of the oracle's next-token distribution to the engine's, in nats
  per token, over {tokens:,} tokens of bundled word problems; **next**: how often both have the same likeliest
  next token.
- **flips**: questions whose most likely choice is another one. **texts**: greedy solutions that are the
  oracle's to the last token.

| engine | form | bits per weight | largest | mean | divergence | next | flips | texts |
|---|---|---|---|---|---|---|---|---|
{rows}

Measured with {"; ".join(versions)}.
"""


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/fidelity.md")
    parser.add_argument("--next-tokens", nargs=4, metavar=("ENGINE", "DTYPE", "PLACE", "FILE"))
    asked = parser.parse_args()
    parts = load().parts
    if asked.next_tokens:
        engine, dtype, place, file = asked.next_tokens
        np.save(file, next_tokens(parts.backends[engine], RunOptions(dtype=dtype or None), Path(place)))
        return
    with tempfile.TemporaryDirectory() as work, Store.open(Path(work) / "hashes.db") as store:
        found = list(forms(parts, store.file_hash, Path(work)))
        told = {form.name + form.engine: measured(form, Path(work) / "store.db") for form in found}
        model = find_model(parse_model(str(demo_model())), store.file_hash).sha256[:12]
    oracle = told[found[0].name + found[0].engine]
    lines = [compared(form, told[form.name + form.engine], oracle) for form in found[1:]]
    known = {form.engine: told[form.name + form.engine].version for form in found}
    versions = [f"{name} {version}" for name, version in known.items()]
    text = page(lines, versions, len(oracle.logprobs), model)
    print(text)
    if asked.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
