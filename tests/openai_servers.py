"""Real servers with OpenAI's interface, on the loopback: started once a session, ended at its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "slmeval" / "demo"


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama-cpp-python's server on the demo model, with the arithmetic that is exact."""
    _need("llama_cpp", "fastapi", "uvicorn", "pydantic_settings", "sse_starlette", "starlette_context")
    exact = ["--type_k", "0", "--type_v", "0", "--flash_attn", "false"]
    model = ["--model", str(DEMO / "model.gguf"), "--n_ctx", "2048"]
    command = [sys.executable, "-m", "llama_cpp.server", *model, *exact]
    with _started(command, tmp_path_factory.mktemp("llama") / "log", {}, seconds=240) as address:
        yield address


@pytest.fixture(scope="session")
def mlx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """mlx_lm.server on the demo model."""
    _need("mlx_lm")
    folder = tmp_path_factory.mktemp("mlx")
    (folder / "hub").mkdir()  # it lists the models of the hub's cache, which must be there
    command = [sys.executable, "-m", "mlx_lm.server", "--model", str(DEMO / "model")]
    with _started(command, folder / "log", {"HF_HOME": str(folder)}, seconds=240) as address:
        yield address


@pytest.fixture(scope="session")
def vllm_server(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's server on the demo model in float32."""
    module = "vllm.entrypoints.openai.api_server"
    model = ["--model", str(DEMO / "model"), "--served-model-name", "demo", "--dtype", "float32"]
    command = [str(vllm_python), "-m", module, *model, "--enforce-eager"]
    surroundings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with _started(command, tmp_path_factory.mktemp("vllm") / "log", surroundings, seconds=600) as address:
        yield address


def _need(*modules: str) -> None:
    if missing := [module for module in modules if find_spec(module) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")


@contextmanager
def _held_port() -> Iterator[int]:
    """A port that nobody else is given until the server, which takes its address again, has it.

    On Linux a socket that does not listen keeps it beside one that does; elsewhere it is let go of.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
        if sys.platform != "linux":
            holder.close()
        yield port


@contextmanager
def _started(command: list[str], log: Path, surroundings: Mapping[str, str], seconds: float) -> Iterator[str]:
    """A server that answers; ended with all that it started."""
    # a key of whoever runs the tests is not the servers' business
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with _held_port() as port, log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**kept, "OMP_NUM_THREADS": "1", **surroundings},
            cwd=log.parent,
        )
        try:
            _await(process, f"http://127.0.0.1:{port}/v1/models", log, seconds)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no server at {url}: {log.read_text(errors='replace')[-2000:]}")
