"""From a model as the user names it to files on this disk: found, checked, hashed, before any load."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from slmeval.errors import MissingExtra, ModelError
from slmeval.tokenizing import read_json
from slmeval.types import ModelRef

#: what a model can be read from; anything else in a folder (logs, optimizer states) does not count
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_DEFINITIONS = (".json", ".model", ".txt", ".jinja", ".py", ".tiktoken")
#: an index names the files of a model that lies in several, with the single file it stands for
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_OLD_INDEX = "pytorch_model.bin.index.json"
#: longest header in bytes that the safetensors library itself reads (its MAX_HEADER_SIZE)
_MAX_HEADER = 100_000_000
_HUB_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py")
#: the fields that hold the context length, in lm-evaluation-harness's order
_CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
#: what lm-evaluation-harness assumes where a model does not say
_DEFAULT_CONTEXT = 2048
#: tokenizers write "no limit" as a number of this size or larger
_NO_LIMIT = 10**12


@dataclass(frozen=True)
class FoundModel:
    """A model's files; ``sha256`` is over names and contents of all that define it, ``context`` in tokens."""

    ref: ModelRef
    folder: Path
    sha256: str
    context: int

    @property
    def local(self) -> ModelRef:
        """The reference that an engine is given: the folder."""
        return ModelRef(str(self.folder))


def parse_model(text: str) -> ModelRef:
    """``FOLDER`` or ``HUB-ID[@REVISION]``; an existing folder is taken as it stands."""
    if is_there(text):
        return ModelRef(text)
    location, _, revision = text.partition("@")
    return ModelRef(location, revision or None)


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder; what no file system could hold is not there."""
    try:
        return Path(path).exists()
    except OSError:
        return False  # find_model says why


def find_model(ref: ModelRef, file_hash: Callable[[Path], str]) -> FoundModel:
    """Find the model's folder (from the hub, if it is a hub id), check it, and hash it.

    :raises ModelError: it is missing or damaged, in one sentence that names the file.
    """
    try:
        return _found(ref, _folder(ref), file_hash)
    except OSError as error:
        raise ModelError(
            f"{error.filename or ref.location} cannot be read: {error.strerror or error}"
        ) from None


def _found(ref: ModelRef, folder: Path, file_hash: Callable[[Path], str]) -> FoundModel:
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ModelError(f"{folder} has no config.json: it is not a model folder")
    config = _object(config_file)
    files = _files(folder)
    if not any(file.suffix in _WEIGHTS for file in files):
        raise ModelError(f"{folder} has no weights (*.safetensors, *.bin)")
    for file in files:
        if file.suffix == ".safetensors":
            check_safetensors(file)
    return FoundModel(ref, folder, _hash(folder, files, file_hash), _context(folder, config))


def _object(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RecursionError:
        raise ModelError(f"{path} is damaged: it is nested too deeply") from None


def _folder(ref: ModelRef) -> Path:
    path = Path(ref.location)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{ref.location} is a file; the installed backends read model folders and hub ids")
    if _looks_like_path(ref.location):
        raise ModelError(f"there is no model folder {ref.location}")
    return _from_hub(ref)


def _looks_like_path(location: str) -> bool:
    return location.startswith((".", "/", "~", "\\")) or location.count("/") != 1 or location.endswith("/")


def _from_hub(ref: ModelRef) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingExtra("huggingface_hub, which fetches models from the hub,", "data") from None
    try:
        return Path(
            snapshot_download(ref.location, revision=ref.revision, allow_patterns=list(_HUB_PATTERNS))
        )
    except HFValidationError:
        raise ModelError(f"there is no model folder {ref.location}, and it is no hub id either") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"there is no folder {ref.location}, and the hub's model of that name cannot be had ({reason})"
        ) from None


def _files(folder: Path) -> list[Path]:
    """The files that define the model: those at the top, and those that an index names, at any depth."""
    endings = (*_WEIGHTS, *_DEFINITIONS)
    top = (file for file in folder.iterdir() if file.suffix in endings and not file.is_dir())
    files = sorted({*top, *_shards(folder)})
    for file in files:
        _refuse_odd(file)
    return files


def _refuse_odd(file: Path) -> None:
    """Links that lead nowhere, pipes and devices; a file left out unseen would be a hash that lies."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ModelError(f"{file} is no regular file: remove it from the model's folder")


def _shards(folder: Path) -> set[Path]:
    shards = _named_by(folder / _INDEX)
    # what is there in both forms is loaded from safetensors, and the hub's other form is not fetched
    if not shards and not (folder / _SINGLE).is_file():
        shards = _named_by(folder / _OLD_INDEX)
    return shards


def _named_by(index: Path) -> set[Path]:
    shards = _object(index).get("weight_map", {})
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise ModelError(f"{index} is damaged: weight_map does not map names to files")
    return {_shard(index, shard) for shard in sorted(set(shards.values()))}


def _shard(index: Path, name: str) -> Path:
    relative = PurePath(name)
    if relative.anchor or ".." in relative.parts:
        raise ModelError(f"{index} names {name}, which lies outside of the model's folder")
    if not (index.parent / relative).is_file():
        raise ModelError(f"{index.parent} lacks {name}, which {index.name} names")
    return index.parent / relative


def check_safetensors(path: Path) -> None:
    """Compare the file's size with what its header promises; reads the header alone.

    :raises ModelError: the file is cut short or is not a safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size:
            raise ModelError(f"{path} is damaged: {size} bytes are too few for its header")
        if length > _MAX_HEADER:
            raise ModelError(f"{path} is damaged: a header of {length} bytes is longer than any can be")
        end = _data_end(path, file.read(length))
    if size < 8 + length + end:
        raise ModelError(f"{path} is cut short: {size} bytes of {8 + length + end}; fetch it again")


def _data_end(path: Path, header: bytes) -> int:
    try:
        entries = json.loads(header)
        tensors = (entry for name, entry in entries.items() if name != "__metadata__")
        return max((operator.index(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ModelError(f"{path} is damaged: its header is not that of a safetensors file") from None


def _hash(folder: Path, files: list[Path], file_hash: Callable[[Path], str]) -> str:
    whole = hashlib.sha256()
    for file in files:
        # a name need not be text
        whole.update(os.fsencode(file.relative_to(folder).as_posix()))
        whole.update(f"\0{file_hash(file)}\n".encode())
    return whole.hexdigest()


def _context(folder: Path, config: Mapping[str, Any]) -> int:
    nested = config.get("text_config")
    for source in (nested if isinstance(nested, dict) else {}, config):
        for name in _CONTEXT_FIELDS:
            if isinstance(source.get(name), int):
                return int(source[name])
    limit = _object(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(limit, int) and limit < _NO_LIMIT:
        return limit
    return _DEFAULT_CONTEXT
