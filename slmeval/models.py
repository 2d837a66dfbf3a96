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

from slmeval.errors import MissingExtra, ModelError, ModelMissing
from slmeval.gguf_file import GGUFHeader, neighbours_of, read_gguf, shard_names, shards_of
from slmeval.gguf_tokenizer import tokenizer_of
from slmeval.tokenizing import FastTokenizer, read_json, read_tokenizer, text_tokenizer
from slmeval.types import ModelRef, Served

#: what a model can be read from; anything else in a folder (logs, optimizer states) does not count
_WEIGHTS = (".safetensors", ".bin", ".gguf")
#: the record of a model that a converter made: it says where the model is from, and is no part of it
RECORD = "slmeval-origin.json"
_DEFINITIONS = (".json", ".model", ".txt", ".jinja", ".py", ".tiktoken")
#: an index names the files of a model that lies in several, with the single file it stands for
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_OLD_INDEX = "pytorch_model.bin.index.json"
#: longest header in bytes that the safetensors library itself reads (its MAX_HEADER_SIZE)
_MAX_HEADER = 100_000_000
_GGUF = ".gguf"
_HUB_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py")
#: the fields that hold the context length, in lm-evaluation-harness's order
_CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
#: what lm-evaluation-harness assumes where a model does not say
_DEFAULT_CONTEXT = 2048
#: the context of a model whose server does not tell it: the server then says what does not fit
UNTOLD = 2**31 - 1
#: tokenizers write "no limit" as a number of this size or larger
_NO_LIMIT = 10**12


@dataclass(frozen=True)
class FoundModel:
    """A model's files: a folder, or (``form`` is "gguf") one file, the first of its shards.

    ``sha256`` is over all that defines the model; ``context`` is in tokens. A model behind a server
    (``form`` is "server") has an ``address`` and no ``place``, and ``sha256`` is over its address alone.
    """

    ref: ModelRef
    place: Path
    sha256: str
    context: int
    form: str = "folder"
    address: str = ""
    edition: str = ""

    @property
    def local(self) -> ModelRef:
        """The reference that an engine is given: the folder, the file or the server's address.

        A server's edition stands for a revision: what is opened must be what was planned.
        """
        return ModelRef(self.address or str(self.place), self.edition or None)

    @property
    def identity(self) -> str:
        """Equal for two names of one model."""
        return self.address or str(self.place.resolve())

    def files(self) -> tuple[Path, ...]:
        """All files that define it, the first shard of a GGUF file first; none of a model behind a server."""
        if self.form == "server":
            return ()
        if self.form == "gguf":
            return (*shards_of(self.place), *neighbours_of(self.place))
        return tuple(_files(self.place))

    def tokenizer(self) -> FastTokenizer:
        """The model's own: its ``tokenizer.json``, also beside a GGUF file, else what that file holds.

        A server has one that is not seen from here: it is given text.

        :raises ModelError: there is none that can be read.
        """
        if self.form == "server":
            return text_tokenizer()
        beside = self.place.with_name("tokenizer.json")
        if self.form == "folder":
            return read_tokenizer(self.place, "the model's tokenizer.json")
        if beside.is_file():
            return read_tokenizer(beside, "the tokenizer.json beside the GGUF file")
        return tokenizer_of(read_gguf(self.place), self.place)


def parse_model(text: str) -> ModelRef:
    """``FOLDER``, ``FILE.gguf``, ``HUB-ID[@REVISION]``, ``HUB-ID:FILE.gguf[@REVISION]``, a server's address.

    What exists is taken as it stands.
    """
    if is_there(text) or _is_address(text):
        return ModelRef(text)
    location, _, revision = text.partition("@")
    return ModelRef(location, revision or None)


def form_of(ref: ModelRef) -> str:
    """The form of a model by its name alone: "server", "gguf" or "folder"."""
    if _is_address(ref.location):
        return "server"
    named_so = ref.location.lower().endswith(_GGUF)
    return "gguf" if named_so and not Path(ref.location).is_dir() else "folder"


def _is_address(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder; what no file system could hold is not there."""
    try:
        return Path(path).exists()
    except OSError:
        return False  # find_model says why


def find_model(ref: ModelRef, file_hash: Callable[[Path], str]) -> FoundModel:
    """Find the model's folder or file (from the hub, if it is a hub id), check it, and hash it.

    :raises ModelError: it is missing or damaged, in one sentence that names the file.
    """
    try:
        place = _place(ref)
        return _found_file(ref, place, file_hash) if place.is_file() else _found(ref, place, file_hash)
    except OSError as error:
        raise ModelError(
            f"{error.filename or ref.location} cannot be read: {error.strerror or error}"
        ) from None


def served_model(ref: ModelRef, served: Served) -> FoundModel:
    """The model behind a server; its weights are known to the server alone."""
    whole = hashlib.sha256("\0".join((served.location, served.edition)).encode())
    context = UNTOLD if served.context is None else served.context
    return FoundModel(ref, Path(), whole.hexdigest(), context, "server", served.location, served.edition)


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


def _found_file(ref: ModelRef, file: Path, file_hash: Callable[[Path], str]) -> FoundModel:
    header = read_gguf(file)
    # a file is the same model under any name
    parts = [file_hash(shard) for shard in shards_of(file)]
    parts += [f"{beside.name} {file_hash(beside)}" for beside in neighbours_of(file)]
    whole = hashlib.sha256("\n".join(parts).encode())
    return FoundModel(ref, file, whole.hexdigest(), _context_of_gguf(file, header), "gguf")


def _context_of_gguf(file: Path, header: GGUFHeader) -> int:
    context = header.of_architecture("context_length")
    if type(context) is not int or context < 1:
        raise ModelError(f"{file} gives {context!r} as the length of its context ({header.architecture!r})")
    return context


def _object(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RecursionError:
        raise ModelError(f"{path} is damaged: it is nested too deeply") from None


def _place(ref: ModelRef) -> Path:
    path = Path(ref.location)
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix.lower() != _GGUF:
            raise ModelMissing(
                f"{ref.location} is a file, and no GGUF file: name a folder, a GGUF file or a hub id"
            )
        return path
    repository, colon, file = ref.location.partition(":")
    if colon and file.endswith(_GGUF) and not looks_like_path(repository):
        return _file_from_hub(ref, repository, file)
    if looks_like_path(ref.location):
        kind = "file" if path.suffix == _GGUF else "folder"
        raise ModelMissing(f"there is no model {kind} {ref.location}")
    return _from_hub(ref)


def looks_like_path(location: str) -> bool:
    """Whether a name can be no hub's."""
    return location.startswith((".", "/", "~", "\\")) or location.count("/") != 1 or location.endswith("/")


def _from_hub(ref: ModelRef) -> Path:
    def fetch(hub: Any) -> str:
        patterns = list(_HUB_PATTERNS)
        return str(hub.snapshot_download(ref.location, revision=ref.revision, allow_patterns=patterns))

    return Path(_fetched(ref, ref.location, fetch))


def _file_from_hub(ref: ModelRef, repository: str, file: str) -> Path:
    """One GGUF file of a repository, with all its shards where it is the first of several."""

    def fetch(hub: Any) -> str:
        first, *more = (shard.as_posix() for shard in shard_names(PurePath(file)))
        for name in more:
            hub.hf_hub_download(repository, name, revision=ref.revision)
        return str(hub.hf_hub_download(repository, first, revision=ref.revision))

    return Path(_fetched(ref, repository, fetch))


def _fetched(ref: ModelRef, repository: str, fetch: Callable[[Any], str]) -> str:
    """What ``fetch`` gets through huggingface_hub; its troubles as one sentence."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingExtra("huggingface_hub, which fetches models from the hub,", "data") from None
    try:
        return fetch(huggingface_hub)
    except HFValidationError:
        raise ModelMissing(f"there is no model folder {repository}, and it is no hub id either") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelMissing(
            f"there is no folder {ref.location}, and the hub's model of that name cannot be had ({reason})"
        ) from None


def _files(folder: Path) -> list[Path]:
    """The files that define the model: those at the top, and those that an index names, at any depth."""
    endings = (*_WEIGHTS, *_DEFINITIONS)
    top = (file for file in folder.iterdir() if file.suffix in endings and not file.is_dir())
    files = sorted({*top, *_shards(folder)} - {folder / RECORD})
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
