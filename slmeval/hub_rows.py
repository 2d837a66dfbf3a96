"""Rows from the Hugging Face hub, kept on this machine, and held against what they were at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from slmeval.datasets import DataSource, Rows, SourceFile, named, selected, split_files
from slmeval.errors import DataError
from slmeval.hub_files import HubFiles, Patience
from slmeval.hub_library import library
from slmeval.pins import Key, Pin, Pins
from slmeval.types import DatasetSpec

#: the branch that is fetched unless another revision is pinned
NEWEST = "main"
#: where the hub puts the Parquet files that it makes of every data set
CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class PinRules:
    """Which pins hold, and what a pull changes about them.

    ``revision`` is to be fetched from now on (``main``: the newest again); with ``accept_changed`` rows that
    are not those recorded take their place.
    """

    pins: Pins
    revision: str | None = None
    accept_changed: bool = False


def open_hub(
    endpoint: str | None = None,
    cache: str | Path | None = None,
    rules: PinRules | None = None,
    patience: Patience | None = None,
) -> HubRows:
    """The Hugging Face hub, or what this machine has kept of it when the hub cannot be reached.

    ``endpoint`` and ``cache`` are those of huggingface_hub unless given (``HF_ENDPOINT``, ``HF_HOME``), and
    so is the token (``HF_TOKEN``). Without ``rules`` nothing is recorded or required.
    """
    return HubRows(HubFiles(endpoint, cache, patience or Patience()), rules)


@dataclass(frozen=True)
class _Found:
    """The files of a split, and the commit they are of."""

    files: list[SourceFile]
    commit: str

    @property
    def source(self) -> str:
        return f"hub {named(self.files)} at {self.commit[:12]}"


class HubRows(DataSource):
    """The hub as a source of rows. ``kept`` says of what was not fetched anew why it was not."""

    kind = "hub"
    description = "the Hugging Face hub"

    def __init__(self, files: HubFiles, rules: PinRules | None) -> None:
        super().__init__()
        self._hub = files
        self._rules = rules
        self._found: dict[Key, _Found] = {}
        self._failed: dict[Key, DataError] = {}

    @property
    def kept(self) -> Mapping[str, str]:
        """Why the rows of a data set's id came from this machine though the hub was asked, if they did."""
        return self._hub.kept

    def holds(self, spec: DatasetSpec, split: str) -> bool:  # noqa: ARG002
        return spec.hub is not None

    def published(self, spec: DatasetSpec, split: str) -> str:
        if spec.hub is None:
            return ""
        found = self._found.get(_key(spec, spec.hub, split))
        return found.source if found else f"hub {spec.hub}"

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        if spec.hub is None:
            raise DataError(f"{spec.name} is not on the hub: give its rows with --data DIR")
        key = _key(spec, spec.hub, split)
        if key in self._failed:
            raise self._failed[key]
        if key not in self._found:
            try:
                self._found[key] = self._required(spec, key)
            except DataError as error:
                self._failed[key] = error
                raise
        found = self._found[key]
        return selected(self._whole(found.files, found.source), spec)

    def _required(self, spec: DatasetSpec, key: Key) -> _Found:
        """The files of a split, whose rows are those that were recorded, if any were."""
        found = self._files(spec, key)
        self._check(spec, key, self._whole(found.files, found.source), found.commit)
        return found

    # ---- where they lie ------------------------------------------------------------------------------

    def _files(self, spec: DatasetSpec, key: Key) -> _Found:
        hub = library()
        revision = self._revision(key)
        try:
            return self._own(key, revision or NEWEST) or self._converted(key, revision or CONVERTED)
        # HTTPError is that of the HTTP library below, which differs from version to version
        except (OSError, hub.errors.HTTPError) as error:
            raise DataError(
                f"{spec.name}/{key.split} could not be had from the hub ({key.hub}): "
                f"{self._hub.reason(error, key.hub, revision)}. "
                f"Ways out: --data DIR with {spec.name}/{key.split}.jsonl in it, "
                f"slmeval data pull {spec.name} where the hub is in reach (what it fetches is kept; "
                "slmeval data pack carries it to another machine), or --sample"
            ) from error

    def _revision(self, key: Key) -> str | None:
        """What to fetch, if not the newest."""
        if self._rules is None:
            return None
        if self._rules.revision is not None:
            return None if self._rules.revision == NEWEST else self._rules.revision
        known = self._rules.pins.find(key)
        return known.revision if known else None

    def _own(self, key: Key, revision: str) -> _Found | None:
        """The files that the owner put there, if in a known place and format, and their commit."""
        folders = [key.config, f"data/{key.config}"] if key.config else ["data", "default", "."]
        snapshot = self._hub.fetch(key.hub, revision, [*_patterns(folders, key.split), "README.md"])
        for folder in folders:
            label = f"{key.hub}/{folder}".removesuffix("/.")
            if files := split_files(snapshot / folder, label, key.split):
                return _Found(files, snapshot.name)
        return None

    def _converted(self, key: Key, revision: str) -> _Found:
        """The Parquet files that the hub makes of every data set, and their commit."""
        snapshot = self._hub.fetch(key.hub, revision, [f"{key.config or '*'}/{key.split}/*.parquet"])
        there = sorted(each.name for each in snapshot.iterdir()) if snapshot.is_dir() else []
        configs = [key.config] if key.config else there
        found = [
            files
            for name in configs
            if (files := split_files(snapshot / name, f"{key.hub}/{name}", key.split))
        ]
        if len(found) != 1:
            raise FileNotFoundError(
                f"it has {len(found)} configurations with that split, where one is needed"
            )
        return _Found(found[0], snapshot.name)

    # ---- what they were ------------------------------------------------------------------------------

    def _check(self, spec: DatasetSpec, key: Key, rows: Rows, commit: str) -> None:
        """Record what is new, and require what is recorded.

        :raises DataError: the rows are not those that were recorded.
        """
        if self._rules is None:
            return
        revision = self._revision(key)
        known = self._rules.pins.find(key)
        if known and known.sha256 != rows.sha256 and not self._rules.accept_changed:
            raise DataError(_changed(spec, key, known, rows, commit))
        if known is None or known.sha256 != rows.sha256 or known.revision != revision:
            today = datetime.now(timezone.utc).date().isoformat()
            self._rules.pins.keep(key, Pin(rows.sha256, len(rows.rows), commit, today, revision))


def _key(spec: DatasetSpec, hub: str, split: str) -> Key:
    return Key(hub, spec.config or "", split)


def _changed(spec: DatasetSpec, key: Key, known: Pin, rows: Rows, commit: str) -> str:
    pull = f"slmeval data pull {spec.name}"
    return (
        f"{spec.name}/{key.split} on the hub ({key.hub}) is not what it was: its {len(rows.rows)} rows have "
        f"sha256 {rows.sha256[:12]} at {commit[:12]}; {known.rows} rows with {known.sha256[:12]} at "
        f"{known.commit[:12]} were recorded on {known.date}, and figures on the two do not compare. "
        f"To stay with the old rows: {pull} --revision {known.commit}; "
        f"to take the new ones from now on: {pull} --accept-changed"
    )


def _patterns(folders: Iterable[str], split: str) -> list[str]:
    bases = [f"{folder}/{split}".removeprefix("./") for folder in folders]
    return [base + ending for base in bases for ending in (".jsonl", ".parquet", "-*.parquet", "/*.parquet")]
