"""The layers hold: ground under plugins and core, core under the top; the core never names a plugin."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {
    "slmeval",
    "slmeval.api",
    "slmeval.archives",
    "slmeval.available",
    "slmeval.children",
    "slmeval.conditions",
    "slmeval.config_fields",
    "slmeval.datasets",
    "slmeval.differences",
    "slmeval.document",
    "slmeval.errors",
    "slmeval.families",
    "slmeval.file_hash",
    "slmeval.fitting",
    "slmeval.frames",
    "slmeval.gguf_file",
    "slmeval.hookspecs",
    "slmeval.hub_files",
    "slmeval.hub_library",
    "slmeval.hub_rows",
    "slmeval.influences",
    "slmeval.licences",
    "slmeval.manifests",
    "slmeval.medians",
    "slmeval.number_types",
    "slmeval.option_kinds",
    "slmeval.packed_outcomes",
    "slmeval.packing",
    "slmeval.paired",
    "slmeval.pins",
    "slmeval.published",
    "slmeval.ranks",
    "slmeval.repeating",
    "slmeval.resampling",
    "slmeval.safetensors_header",
    "slmeval.sampling",
    "slmeval.sequences",
    "slmeval.shape",
    "slmeval.shape_of_config",
    "slmeval.shape_of_gguf",
    "slmeval.shape_of_tensors",
    "slmeval.shape_reading",
    "slmeval.shots",
    "slmeval.statistics",
    "slmeval.stopping",
    "slmeval.tasks",
    "slmeval.text",
    "slmeval.thoughts",
    "slmeval.token_tree",
    "slmeval.tokenizer_probes",
    "slmeval.trends",
    "slmeval.types",
    "slmeval.verdicts",
    "slmeval.work",
    "slmeval.yardstick",
}
TOP = ("slmeval.cli", "slmeval.service", "slmeval.pytest_", "slmeval.testing", "slmeval.__main__")
ENGINES = {"torch", "transformers", "mlx", "mlx_lm", "llama_cpp", "vllm", "openai"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also those imported late or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "slmeval"}


SLMEVAL = sorted((ROOT / "slmeval").rglob("*.py"))
PLUGINS = sorted(
    [
        *ROOT.glob("plugins/**/*.py"),
        *ROOT.glob("tasks/**/*.py"),
        *(ROOT / "slmeval" / "builtin").rglob("*.py"),
    ]
)
BELOW_TOP = [path for path in SLMEVAL if not module_name(path).startswith(TOP)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PLUGINS, ids=name)
def test_plugins_see_the_ground_alone(path: Path) -> None:
    own = "slmeval.builtin"
    assert {each for each in ours(path) if not each.startswith(own)} <= GROUND


@pytest.mark.parametrize("path", [path for path in SLMEVAL if module_name(path) in GROUND], ids=name)
def test_the_ground_stands_on_nothing_of_ours(path: Path) -> None:
    assert ours(path) <= GROUND


@pytest.mark.parametrize("path", BELOW_TOP, ids=name)
def test_nothing_below_imports_the_top(path: Path) -> None:
    assert not [each for each in ours(path) if each.startswith(TOP)]


@pytest.mark.parametrize(
    "path", [path for path in BELOW_TOP if "builtin" not in path.parts and "demo" not in path.parts], ids=name
)
def test_the_core_names_no_plugin(path: Path) -> None:
    names = [folder.name for folder in (*ROOT.glob("plugins/slmeval_*"), *ROOT.glob("tasks/slmeval_*"))]
    assert names
    assert not re.search("|".join(names), path.read_text(encoding="utf-8"))
    assert not [each for each in imports(path) if each.split(".")[0] in names]


@pytest.mark.parametrize("path", SLMEVAL, ids=name)
def test_nothing_in_slmeval_imports_an_engine(path: Path) -> None:
    assert not {each.split(".")[0] for each in imports(path)} & ENGINES


@pytest.mark.parametrize("path", BELOW_TOP, ids=name)
def test_only_the_top_prints_or_exits(path: Path) -> None:
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert not {"print", "sys.exit", "exit", "click.echo"} & set(calls)


@pytest.mark.parametrize("path", [*SLMEVAL, *PLUGINS], ids=name)
def test_the_kit_for_tests_is_imported_by_tests_alone(path: Path) -> None:
    if not module_name(path).startswith(("slmeval.pytest_", "slmeval.testing")):
        assert not [each for each in ours(path) if each.startswith("slmeval.testing")]


@pytest.mark.slow
@pytest.mark.parametrize("path", SLMEVAL, ids=name)
def test_each_module_imports_alone_without_a_warning(path: Path) -> None:
    if path.name != "__main__.py":
        subprocess.run([sys.executable, "-W", "error", "-c", f"import {module_name(path)}"], check=True)


def test_all_modules_import_without_a_warning(tmp_path: Path) -> None:
    program = "; ".join(f"import {module_name(path)}" for path in SLMEVAL if path.name != "__main__.py")
    # compiled anew: what was compiled before warns no more
    compiled = ("-X", f"pycache_prefix={tmp_path}")
    subprocess.run([sys.executable, "-W", "error", *compiled, "-c", program], check=True)


def test_the_help_and_the_lists_import_no_engine_and_no_numpy() -> None:
    heavy = sorted(ENGINES | {"numpy", "tokenizers", "pyarrow"})
    program = (
        "import sys; from slmeval.cli import run; "
        "[run(args) for args in (['--help'], ['run', '--help'], ['list', 'backends'], ['list', 'tasks'])]; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
