"""What tests share: the folder of real rows, the demo model, a random Llama with a real tokenizer."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

# before any engine is imported: threads that wait by spinning take the turns of the tests beside them, and
# what takes half a minute alone then takes minutes (docs/engines.md)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# the same examples each time, and as much time for one as it takes: what fails, fails on any machine however
# slow. ``--hypothesis-profile=default`` draws others
with suppress(ImportError):  # it is not in vLLM's environment
    from hypothesis import HealthCheck, settings

    _slow = [HealthCheck.too_slow]
    settings.register_profile("slmeval", deadline=None, derandomize=True, suppress_health_check=_slow)
    settings.load_profile("slmeval")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.exists():
        pytest.skip(f"../shared/{part} is not on this machine")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real rows of public data sets."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_tokenizer() -> Path:
    """A folder with a real tokenizer of 49,152 tokens."""
    return _shared("tokenizers/smollm2-135m-instruct")


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The folder of the bundled demo model."""
    return ROOT / "slmeval" / "demo" / "model"


@pytest.fixture(scope="session")
def random_llama(tmp_path_factory: pytest.TempPathFactory, shared_tokenizer: Path) -> Path:
    """A small Llama of random weights with 4,096 positions and a real tokenizer."""
    from random_models import TINY_LLAMA, write_model

    shape = {**TINY_LLAMA, "vocab_size": 49152, "max_position_embeddings": 4096}
    folder = write_model(
        tmp_path_factory.mktemp("models") / "random-llama",
        shape,
        seed=7,
        tokenizer=shared_tokenizer / "tokenizer.json",
    )
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", '
        '"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}'
    )
    return folder


@pytest.fixture(scope="session")
def llama_cpp_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama.cpp's source: the folder that ``LLAMA_CPP_SOURCE`` names, or what the bindings' sdist holds.

    The bindings bring llama.cpp's library alone, and not the script that reads what transformers writes.
    """
    if named := os.environ.get("LLAMA_CPP_SOURCE"):
        return Path(named)
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")
    from importlib.metadata import version

    folder = tmp_path_factory.mktemp("llama-cpp")
    wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
    sources = ["--no-deps", "--no-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "-q", *sources, "-d", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"the sdist of {wanted} cannot be had here: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(archives[0]) as archive:
        wanted_parts = (
            "/vendor/llama.cpp/conversion/",
            "/vendor/llama.cpp/gguf-py/",
            "convert_hf_to_gguf.py",
        )
        members = [each for each in archive.getmembers() if any(part in each.name for part in wanted_parts)]
        archive.extractall(folder, members, filter="data")
    return next(folder.glob("*/vendor/llama.cpp"))


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """An interpreter with vLLM, slmeval and pytest: ``slmeval doctor --make vllm --with pytest`` makes it."""
    from slmeval.environments import python_of, trouble_with

    python = python_of("vllm")
    if python is None:
        pytest.skip("vLLM is not on this machine: slmeval doctor --make vllm --with pytest")
    if (trouble := trouble_with("vllm", python)) is not None:
        pytest.skip(f"vLLM cannot run under {python}: {trouble}")
    return python


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
