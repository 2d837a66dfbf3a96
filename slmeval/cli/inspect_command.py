"""``slmeval inspect``: what a model is and what it takes, by arithmetic; no weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slmeval.cli.flags import counts
from slmeval.cli.output import print_text
from slmeval.errors import ModelMissing, UsageError
from slmeval.text import clean

if TYPE_CHECKING:
    from slmeval.inspection import Asked, Costs, Fact
    from slmeval.shape import Shape

    Cell = Callable[[Costs], str]

_FORMATS = ("table", "json")
_SCHEMA = "slmeval.inspect/1"
#: no model has seen so long a text, and none will
_LONGEST = 1 << 40
#: characters that are shown of a name or a note
_LONGEST_LINE = 400
_UNKNOWN = "unknown"


@click.command("inspect")
@click.argument("model")
@click.option("--weights", metavar="TYPE", help="float16, q8_0, q4_k_m, ..., or bits a weight; as they are.")
@click.option("--kv", default="float16", metavar="TYPE[,TYPE]", help="Of keys and values, or of each.")
@click.option("--contexts", default="2048,8192,32768", metavar="N,...", callback=counts, help="In tokens.")
@click.option("--bandwidth", type=float, metavar="GB/s", help="Of memory: how fast decoding can be at most.")
@click.option("--format", "form", default="table", metavar="|".join(_FORMATS), help="How it is written.")
def command(
    model: str, weights: str | None, kv: str, contexts: tuple[int, ...], bandwidth: float | None, form: str
) -> None:
    """Tell what MODEL is and what it takes: parameters, attention, memory by context, work for a token.

    MODEL is a folder, a GGUF file or a hub id. Only its configuration and headers are read.
    """
    from slmeval.registry import pick

    write = pick("format", form, {"table": _table, "json": _json})
    asked = _asked(weights, kv, contexts, bandwidth)
    print_text(write(model, _shape(model), asked))


def _asked(weights: str | None, kv: str, contexts: tuple[int, ...], bandwidth: float | None) -> Asked:
    from slmeval.inspection import Asked
    from slmeval.number_types import bits_of, is_mixture
    from slmeval.work import Numbers

    for context in contexts:
        if not 1 <= context <= _LONGEST:
            raise UsageError(f"--contexts {context}: a context has from 1 to {_LONGEST} tokens")
    if bandwidth is not None and not (isfinite(1e9 * bandwidth) and bandwidth > 0):
        raise UsageError(f"--bandwidth {bandwidth:g}: it must be above 0, in GB/s")
    names = kv.split(",")
    if len(names) > 2:
        raise UsageError(f"--kv {kv}: one type, or that of keys and that of values")
    keys, values = bits_of(names[0]), bits_of(names[-1])
    bits = None if weights is None else bits_of(weights, mixtures=True)
    return Asked(
        numbers=Numbers(bits, keys, values),
        weights=_named(weights or ""),
        cache=", ".join(map(_named, names)),
        contexts=contexts,
        bandwidth=bandwidth,
        estimate=weights is not None and is_mixture(weights),
    )


def _named(kind: str) -> str:
    """A type's name, or the number of bits that stands in its place."""
    return kind.lower() if kind[:1].isalpha() or not kind else f"{float(kind):g} bits"


def _shape(model: str) -> Shape:
    from slmeval.models import form_of, is_there, looks_like_path, parse_model
    from slmeval.shape_reading import shape_of

    ref = parse_model(model)
    if form_of(ref) == "server":
        raise UsageError(f"{model} is a server's address: a server does not tell what its model is made of")
    if is_there(ref.location):
        return shape_of(Path(ref.location))
    if looks_like_path(ref.location.partition(":")[0]):
        raise ModelMissing(f"there is no model {ref.location}")
    from slmeval.shape_from_hub import shape_from_hub

    return shape_from_hub(ref)


# ---- as a table ------------------------------------------------------------------------------------------


def _table(model: str, shape: Shape, asked: Asked) -> str:
    from tabulate import tabulate

    from slmeval.inspection import costs_of, facts_of

    facts = [tuple(map(_line, (fact.label, _told(fact), fact.source))) for fact in facts_of(shape, asked)]
    costs = [costs_of(shape, context, asked) for context in asked.contexts]
    columns = _columns(asked, costs)
    rows = [[cell(each) for cell in columns.values()] for each in costs]
    parts = [
        clean(model),
        tabulate(facts, headers=("", "", "from"), disable_numparse=True),
        _what_follows(asked),
        tabulate(rows, headers=list(columns), disable_numparse=True, stralign="right"),
        "\n".join(_line(note) for note in (*shape.notes, *_beyond(shape, asked))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(text: str) -> str:
    """A text that may hold a stranger's name, however long that is."""
    shown = clean(text[:_LONGEST_LINE])
    return shown if len(text) <= _LONGEST_LINE else f"{shown}..."


def _told(fact: Fact) -> str:
    if fact.words:
        return fact.words
    if fact.value is None:
        return _UNKNOWN
    if fact.unit == "bytes":
        return _size(float(fact.value))
    shown = fact.value if isinstance(fact.value, str) else f"{fact.value:,}"
    return f"{shown} {fact.unit}".rstrip()


def _size(value: float | None) -> str:
    """Bytes in the unit in which they are read best."""
    if value is None:
        return _UNKNOWN
    # models are told in MiB up to several thousands of them
    for unit, size, least in (("GiB", 2**30, 10), ("MiB", 2**20, 1), ("KiB", 2**10, 1)):
        if value >= least * size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:g} bytes"


def _what_follows(asked: Asked) -> str:
    weights = f"weights in {asked.weights}" if asked.weights else "weights as they are"
    estimates = "weights and compute" if asked.estimate else "compute"
    return (
        f"One sequence, {weights}, keys and values in {asked.cache}; computed, with {estimates} estimated\n"
        "(llama.cpp without flash attention, 512 tokens in a pass). Prefill: each token of a prompt as long\n"
        "as the context. Decode: the token after it."
    )


def _columns(asked: Asked, costs: Sequence[Costs]) -> Mapping[str, Cell]:
    columns: dict[str, Cell] = {
        "context": lambda each: f"{each.context:,}",
        "weights": lambda each: _size(each.weight_bytes),
        "KV": lambda each: _size(each.kv_bytes),
    }
    if any(each.state_bytes for each in costs):
        columns["state"] = lambda each: _size(each.state_bytes)
    columns |= {
        "compute": lambda each: _size(each.compute_bytes),
        "KV share": lambda each: _percent(each.kv_share),
        "with compute": lambda each: _percent(each.kv_share_with_compute),
        "prefill does": lambda each: _operations(each.prefill_operations),
        "and reads": lambda each: _size(each.prefill_bytes),
        "decode does": lambda each: _operations(each.decode_operations),
        "and reads ": lambda each: _size(each.decode_bytes),
    }
    if asked.bandwidth is not None:
        columns[f"at {asked.bandwidth:g} GB/s"] = lambda each: _rate(each.decode_ceiling)
    return columns


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.1f}%"


def _operations(count: float | None) -> str:
    return _UNKNOWN if count is None else f"{count / 1e9:,.3g} GFLOP"


def _rate(rate: float | None) -> str:
    return _UNKNOWN if rate is None else f"<= {rate:,.4g} tok/s"


def _beyond(shape: Shape, asked: Asked) -> Iterable[str]:
    beyond = [context for context in asked.contexts if shape.context and context > shape.context]
    if beyond:
        yield f"beyond its context of {shape.context:,} tokens: {', '.join(f'{each:,}' for each in beyond)}"


# ---- as JSON ---------------------------------------------------------------------------------------------


def _json(model: str, shape: Shape, asked: Asked) -> str:
    from slmeval.inspection import costs_of, facts_of

    told = {
        fact.name: {key: value for key, value in asdict(fact).items() if key != "name"}
        for fact in facts_of(shape, asked)
    }
    document = {
        "schema": _SCHEMA,
        "model": model,
        "weights": asked.weights or None,
        "kv": asked.cache,
        "bandwidth_gb_per_s": asked.bandwidth,
        "facts": told,
        "costs": [asdict(costs_of(shape, context, asked)) for context in asked.contexts],
        "costs_source": _sources(asked),
        "notes": [*shape.notes, *_beyond(shape, asked)],
    }
    # names are a stranger's: nothing but ASCII goes to the terminal
    return json.dumps(document, indent=2) + "\n"


def _sources(asked: Asked) -> Mapping[str, str]:
    from slmeval.inspection import COMPUTED, ESTIMATED, OF_COMPUTE, OF_WEIGHTS

    estimated = (*OF_COMPUTE, *(OF_WEIGHTS if asked.estimate else ()))
    return {**dict.fromkeys(estimated, ESTIMATED), "all others": COMPUTED}
