"""``slmeval convert``: a model in another form, quantized or not."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from slmeval.cli.output import print_text


@click.command("convert")
@click.argument("model")
@click.argument("form", metavar="NAME:FORM")
@click.option("--output", metavar="FOLDER", help="Copy what was made to a new folder.")
@click.option("--store", metavar="PATH", help="Where hashes of files are kept.")
def command(model: str, form: str, output: str | None, store: str | None) -> None:
    """Write MODEL in another form, and print where it lies: slmeval convert model.gguf llamacpp:Q4_K_M

    MODEL is a folder, a GGUF file, a hub id, or 'demo' (a folder of that name is ./demo); slmeval list
    converters names the forms. What was made once is kept, by the hashes of all it was made of.
    """
    from slmeval.conversions import choose, convert, copied, default_cache
    from slmeval.models import find_model, parse_model
    from slmeval.pairing import demo_model
    from slmeval.registry import load
    from slmeval.store import Store, default_path

    converter, wanted = choose(form, load().parts.converters)
    reference = str(demo_model(converter.sources[0])) if model == "demo" else model
    with Store.open(Path(store) if store else default_path()) as opened:
        found = find_model(parse_model(reference), opened.file_hash)
        made = convert(found, converter, wanted, opened.file_hash, default_cache())
    place = copied(made, Path(output)) if output else made.place
    sys.stderr.write(f"{'made' if made.fresh else 'made before'}: {made.origin.sentence()}\n")
    print_text(f"{place}\n")
