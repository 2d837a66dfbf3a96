"""From a model as the user names it to files on this disk: found, checked, hashed, before any load."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval.errors import MissingExtra, ModelError
from slmeval.tokenizing import read_json
from slmeval.types import ModelRef

#: what a model can be read from; anything else in a folder (logs, optimizer states) does not count
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_DEFINITIONS = (".json", ".model", ".txt", ".jinja", ".py", ".tiktoken")
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
    if Path(text).exists():
        return ModelRef(text)
    location, _, revision = text.partition("@")
    return ModelRef(location, revision or None)


def find_model(ref: ModelRef, file_hash: Callable[[Path], str]) -> FoundModel:
    """Find the model's folder (from the hub, if it is a hub id), check it, and hash it.

    :raises ModelError: it is missing or damaged, in one sentence that names the file.
    """
    folder = _folder(ref)
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise ModelError(f"{folder} has no config.json: it is not a model folder")
    config = read_json(config_file)
    files = _files(folder)
    if not any(file.suffix in _WEIGHTS for file in files):
        raise ModelError(f"{folder} has no weights (*.safetensors, *.bin)")
    for file in files:
        if file.suffix == ".safetensors":
            check_safetensors(file)
    _check_shards(folder)
    return FoundModel(ref, folder, _hash(folder, files, file_hash), _context(folder, config))


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
    endings = (*_WEIGHTS, *_DEFINITIONS)
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in endings)


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
        end = _data_end(path, file.read(length))
    if size < 8 + length + end:
        raise ModelError(f"{path} is cut short: {size} bytes of {8 + length + end}; fetch it again")


def _data_end(path: Path, header: bytes) -> int:
    try:
        entries = json.loads(header)
        return max(
            (entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ModelError(f"{path} is damaged: its header is not that of a safetensors file") from None


def _check_shards(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    shards = read_json(index).get("weight_map", {})
    if not isinstance(shards, dict):
        raise ModelError(f"{index} is damaged: weight_map is no object")
    for shard in sorted(set(shards.values())):
        if not (folder / shard).is_file():
            raise ModelError(f"{folder} lacks {shard}, which its index names")


def _hash(folder: Path, files: list[Path], file_hash: Callable[[Path], str]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder).as_posix()}\0{file_hash(file)}\n".encode())
    return whole.hexdigest()


def _context(folder: Path, config: Mapping[str, Any]) -> int:
    nested = config.get("text_config")
    for source in (nested if isinstance(nested, dict) else {}, config):
        for name in _CONTEXT_FIELDS:
            if isinstance(source.get(name), int):
                return int(source[name])
    limit = read_json(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(limit, int) and limit < _NO_LIMIT:
        return limit
    return _DEFAULT_CONTEXT
