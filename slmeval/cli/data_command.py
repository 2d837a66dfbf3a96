"""``slmeval data``: fetch the rows of data sets, carry them to a machine without a network, check them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from slmeval.cli.output import check_output, complain, print_text
from slmeval.errors import DataError, ExitCode, UsageError
from slmeval.text import clean

if TYPE_CHECKING:
    from slmeval.hub_files import Patience
    from slmeval.hub_rows import HubRows, PinRules
    from slmeval.reads import Read, Reads

#: seconds; longer is not waited between two attempts
_LONGEST_WAIT = 30.0

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_TASKS = click.argument("tasks", nargs=-1, required=True)
_NO_SHOTS = click.option(
    "--no-shots", is_flag=True, help="Leave out the splits that examples are taken from."
)
_TRIES = click.option(
    "--tries",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="How often a request to the hub is made before it has failed.",
)


@click.group("data", invoke_without_command=True)
@click.pass_context
def command(context: click.Context, /) -> None:
    """Fetch the rows of data sets, carry them to a machine without a network, check them."""
    if context.invoked_subcommand is None:
        print_text(context.get_help() + "\n")


# ---- pull ----------------------------------------------------------------------------------------------


@command.command("pull")
@_TASKS
@click.option("--output", metavar="DIR", help="Write DIR/DATASET/SPLIT.jsonl too, for --data DIR.")
@_NO_SHOTS
@click.option(
    "--revision", metavar="COMMIT", help="Fetch this one, now and from now on; main is the newest again."
)
@click.option("--accept-changed", is_flag=True, help="Take rows that are not those of the first pull.")
@_TRIES
def pull(
    tasks: Sequence[str],
    output: str | None,
    no_shots: bool,
    revision: str | None,
    accept_changed: bool,
    tries: int,
) -> int:
    """Fetch all rows that TASKS need from the hub: slmeval data pull arc_easy,hellaswag

    TASKS are tasks, groups, globs or data sets. What was fetched is kept (HF_HOME), and the hash of the rows
    is recorded (SLMEVAL_PINS): other rows under that name are refused from then on. HF_ENDPOINT names
    another hub, HF_TOKEN a token for data sets that ask for one.
    """
    from slmeval.hub_rows import PinRules, open_hub
    from slmeval.pins import Pins, default_path

    if revision is not None and not revision.strip():
        raise UsageError(f"--revision {revision!r} names no commit: main is the newest")
    rules = PinRules(Pins(default_path()), revision, accept_changed)
    with _Bytes() as shown:
        source = open_hub(rules=rules, patience=_patience(tries, shown))
        found = _reads(tasks, source, rules, no_shots)
    _tell_kept(source)
    for failure in found.failures:
        complain(str(failure))
    if output is not None and found.found:
        _write_below(Path(output), found.found)
    _print_table([_row(read) for read in found.found], (*_HEADERS, "where"))
    if not found.failures:
        return ExitCode.DONE
    return ExitCode.JOB_FAILED if found.found else ExitCode.USAGE


def _write_below(root: Path, found: Iterable[Read]) -> None:
    from slmeval.archives import content, write_folder
    from slmeval.datasets import open_folder
    from slmeval.reads import beside

    # of a table another pull may have had other rows
    whole = [beside(read, open_folder(root)) for read in found] if root.is_dir() else found
    write_folder(root, (content(read.spec, read.split, read.rows, read.published) for read in whole))


def _reads(tasks: Sequence[str], source: HubRows, rules: PinRules, no_shots: bool) -> Reads:
    from slmeval.reads import named_tasks, reads
    from slmeval.registry import load

    chosen = named_tasks(_split(tasks), load().parts)
    repositories = {task.dataset.hub for task in chosen}
    if rules.revision is not None and len(repositories) > 1:
        raise UsageError(f"--revision {rules.revision} is of one data set: name tasks of one alone")
    found = reads(chosen, source, not no_shots)
    _tell_making(found)
    return found


def _split(tasks: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for part in tasks for name in part.split(",") if name.strip())


def _tell_making(found: Reads) -> None:
    if found.making:
        complain(f"{', '.join(found.making)}: nothing to fetch, for these make or bring their rows")


def _tell_kept(source: HubRows) -> None:
    for repository, reason in source.kept.items():
        complain(f"{repository} was not looked at on the hub ({reason}): the rows kept here are used")


# ---- pack ----------------------------------------------------------------------------------------------


@command.command("pack")
@_TASKS
@click.option("--output", metavar="FILE", required=True, help="The archive, a zip file.")
@click.option("--data", metavar="PATH", help="Rows from this folder or archive, not from the hub.")
@_NO_SHOTS
@click.option(
    "--for-own-machines",
    is_flag=True,
    help="Pack what is not known to be free to pass on, and say in the archive that it is not.",
)
@_TRIES
def pack(
    tasks: Sequence[str], output: str, data: str | None, no_shots: bool, for_own_machines: bool, tries: int
) -> int:
    """Put all rows that TASKS need into one file: slmeval data pack arc_easy --output rows.zip

    slmeval run --data rows.zip reads it on a machine without a network. Equal rows make equal bytes; the
    hash that is printed is for: slmeval data verify rows.zip --sha256 HASH
    """
    from slmeval import manifests
    from slmeval.archives import archive_hash, content, write_archive

    check_output(output)
    found = _all_reads(tasks, data, no_shots, tries)
    if not for_own_machines:
        _check_licences(found.found)
    told = manifests.OWN_MACHINES if for_own_machines else manifests.FREE
    each = (content(read.spec, read.split, read.rows, read.published) for read in found.found)
    manifest = write_archive(Path(output), each, told)
    words = (manifest.files[f"{read.spec.name}/{read.split}.jsonl"].passing_on for read in found.found)
    rows = [(*_row(read)[:-1], word) for read, word in zip(found.found, words, strict=True)]
    _print_table(rows, (*_HEADERS, "these rows"))
    print_text(f"\n{output} {manifest.passing_on}\nsha256 {archive_hash(Path(output))}\n")
    return ExitCode.DONE


def _all_reads(tasks: Sequence[str], data: str | None, no_shots: bool, tries: int) -> Reads:
    """What the tasks read.

    :raises DataError: a part of it cannot be had, or there is nothing to be had.
    """
    from slmeval.hub_rows import PinRules, open_hub
    from slmeval.pins import Pins, default_path
    from slmeval.questions import open_source
    from slmeval.reads import named_tasks, reads
    from slmeval.registry import load
    from slmeval.types import RunOptions

    chosen = named_tasks(_split(tasks), load().parts)
    if data is not None:
        found = reads(chosen, open_source(RunOptions(data=data), demo=False), not no_shots)
    else:
        with _Bytes() as shown:
            hub = open_hub(rules=PinRules(Pins(default_path())), patience=_patience(tries, shown))
            found = reads(chosen, hub, not no_shots)
        _tell_kept(hub)
    _tell_making(found)
    for name, place in found.elsewhere.items():
        complain(f"{name}: its examples are not packed, they are read from {place} where it runs")
    if found.failures:
        raise found.failures[0]
    if not found.found:
        raise DataError("there is nothing to pack: these tasks make or bring their rows")
    return found


def _check_licences(found: Iterable[Read]) -> None:
    """:raises UsageError: rows are not known to be free to pass on."""
    from slmeval.licences import passing_on

    bound = {read.spec.name: passing_on(read.spec.licence) for read in found}
    if told := [f"{name} {each.told}" for name, each in bound.items() if not each.free]:
        raise UsageError(
            f"{'; '.join(told)}: --for-own-machines packs it all the same, for machines of your own, and the "
            "archive says so"
        )


# ---- verify --------------------------------------------------------------------------------------------


@command.command("verify")
@click.argument("path", metavar="FILE|DIR")
@click.option("--sha256", metavar="HASH", help="What the whole archive must have, as data pack printed it.")
def verify(path: str, sha256: str | None) -> int:
    """Check an archive, or a folder that data pull --output wrote: every file, byte and row."""
    from slmeval.archives import archive_hash
    from slmeval.archives import verify as check

    place = Path(path).expanduser()
    manifest = check(place, sha256)
    whole = "" if place.is_dir() else f"sha256 {archive_hash(place)}\n"
    rows = sum(entry.rows for entry in manifest.files.values())
    print_text(f"{path} is whole: {len(manifest.files)} files with {rows:,} rows\n")
    print_text(f"it {clean(manifest.passing_on)}\n{whole}")
    return ExitCode.DONE


# ---- words and figures ---------------------------------------------------------------------------------

_HEADERS = ("data set", "split", "rows", "sha256", "licence")


def _row(read: Read) -> tuple[str, ...]:
    where = read.rows.source.removeprefix("hub ")
    name, licence = read.spec.name, read.spec.licence or "unknown"
    return (name, read.split, f"{len(read.rows.rows):,}", read.rows.sha256[:12], licence, where)


def _print_table(rows: Sequence[tuple[str, ...]], headers: Sequence[str]) -> None:
    from tabulate import tabulate

    if rows:
        cleaned = [tuple(map(clean, row)) for row in rows]
        print_text(tabulate(cleaned, headers=headers, disable_numparse=True) + "\n")


def _patience(tries: int, shown: _Bytes) -> Patience:
    from slmeval.hub_files import Patience

    waits = tuple(min(2.0**number, _LONGEST_WAIT) for number in range(tries - 1))
    return Patience(waits, waits, shown.complain, shown.begin, shown.advance)


class _Bytes:
    """Bytes as they come: a bar on a terminal, elsewhere a line for each file."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Bytes:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def complain(self, message: str) -> None:
        """A line on stderr, for which the bar makes room."""
        if self._bar is not None:
            self._bar.clear()
        complain(message)

    def begin(self, name: str, size: int | None) -> None:
        """A file is fetched."""
        if sys.stderr is None or not sys.stderr.isatty():
            complain(f"fetching {name}" + (f", {size:,} bytes" if size is not None else ""))
            return
        from tqdm import tqdm

        self._close()
        self._bar = tqdm(total=size, desc=clean(name), unit="B", unit_scale=True, leave=False)

    def advance(self, count: int) -> None:
        """So many bytes more are here."""
        if self._bar is not None:
            self._bar.update(count)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
