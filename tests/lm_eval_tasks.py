"""lm-evaluation-harness over rows of a folder, without a network: what our numbers are compared with.

``lm_eval_task`` gives one of its own tasks, ``requests`` what that task asks, and ``run_lm_eval`` a whole
evaluation by its own ``HFLM`` and evaluator. Import this module only where ``lm_eval`` is installed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets
import lm_eval.tasks
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.tasks._yaml_loader import load_yaml
from written_rows import MINERVA

#: the seed for shots of lm-eval's command line
SEED = 1234

_DEFINITIONS = {
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "piqa": "piqa/piqa.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "winogrande": "winogrande/default.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "commonsense_qa": "commonsense_qa/default.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "truthfulqa_mc1": "truthfulqa/truthfulqa_mc1.yaml",
    "truthfulqa_mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "copa": "super_glue/copa/default.yaml",
    "sciq": "sciq/sciq.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "wikitext": "wikitext/wikitext.yaml",
    "gsm8k_cot": "gsm8k/gsm8k-cot.yaml",
    "asdiv": "asdiv/default.yaml",
    "asdiv_cot_llama": "asdiv/asdiv-cot-llama.yaml",
    **{f"minerva_math{end}": f"minerva_math/minerva_math{end}.yaml" for end in MINERVA},
}
#: tasks whose rows lie in a folder of another name
_FOLDERS = {
    "truthfulqa_mc1": "truthfulqa_mc",
    "truthfulqa_mc2": "truthfulqa_mc",
    "gsm8k_cot": "gsm8k",
    "asdiv_cot_llama": "asdiv",
}


def definition(name: str) -> Path | None:
    """lm-eval's file for the task that we call ``name``, if it has one."""
    path = f"mmlu/default/{name}.yaml" if name.startswith("mmlu_") else _DEFINITIONS.get(name)
    return path and Path(lm_eval.tasks.__file__).parent / path


class LocalTask(ConfigurableTask):
    """A task of lm-eval with its own definition, but with rows from this machine."""

    def __init__(self, config: dict[str, Any], splits: datasets.DatasetDict) -> None:
        self._splits = splits
        super().__init__(config=config)

    def download(self, *_: object, **__: object) -> None:
        self.dataset = self._splits


def lm_eval_task(name: str, folder: Path, shots: int = 0) -> LocalTask:
    """lm-eval's task ``name`` over ``folder``/``name``, ready to build its requests.

    Where there is no ``train.jsonl``, ``fewshot.jsonl`` takes its place.
    """
    path = definition(name)
    assert path is not None, name
    config = {key: value for key, value in load_yaml(path).items() if key not in {"tag", "task_alias"}}
    subject = name.removeprefix("mmlu_") if name.startswith("mmlu_") else None
    with quiet():
        task = LocalTask(
            config, _splits(folder / (_FOLDERS.get(name, name) if subject is None else "mmlu"), subject)
        )
    # what lm_eval.evaluator.simple_evaluate sets for --num_fewshot, but for tasks that have none
    if not shows_none(name):
        task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(SEED)
    return task


def shows_none(name: str) -> bool:
    """Whether lm-eval's definition fixes the shots at none, so that the command line cannot ask for more."""
    path = definition(name)
    return path is not None and load_yaml(path).get("num_fewshot") == 0


def requests(task: LocalTask, limit: int | None = None) -> list[list[Instance]]:
    """For each row what the task asks, in lm-eval's order."""
    with quiet():
        task.build_all_requests(limit=limit)
    by_row: dict[int, list[Instance]] = {}
    for instance in task.instances:
        by_row.setdefault(instance.doc_id, []).append(instance)
    return [by_row[row] for row in sorted(by_row)]


def run_lm_eval(
    model: Path,
    names: Sequence[str],
    folder: Path,
    *,
    shots: int = 0,
    limit: int | None = None,
    batch_size: int = 1,
    max_tokens: int | None = None,
    chat: bool = False,
) -> dict[str, dict[str, Any]]:
    """Evaluate a model with lm-eval's HFLM in float32 on the CPU, at most ``max_tokens`` (256) a text.

    ``chat``: by the model's own chat template, examples as turns.

    By task: ``results`` as lm-eval gives them (``"acc,none"``, ``"acc_stderr,none"``, ...), and
    ``samples``, one for each row and filter: ``row`` (its place), ``filter``, ``arguments`` of each
    request, ``replies`` to each ((log-probability, greedy) or the text), ``filtered`` (what the filter
    made of them), and ``metrics``.
    """
    from lm_eval.models.huggingface import HFLM

    with quiet():
        engine = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size)
        tasks = {name: lm_eval_task(name, folder, shots) for name in names}
        for task in tasks.values():
            if max_tokens is not None and task.OUTPUT_TYPE == "generate_until":
                task.set_config("generation_kwargs", {"max_gen_toks": max_tokens}, update=True)
        # errors of means are exact, but lm-eval gives none at all without the bootstrap
        outcome = evaluate(
            engine,
            {"tasks": tasks},
            limit=limit,
            bootstrap_iters=2,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
    return {
        name: {
            "results": outcome["results"][name],
            "samples": [_sample(logged) for logged in outcome["samples"][name]],
        }
        for name in names
    }


def tiny_llama(folder: Path, tokenizer: Path, context: int = 4096) -> Path:
    """A Llama with random weights and the tokenizer of another folder, as save_pretrained leaves it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    given = json.loads((tokenizer / "config.json").read_text())
    config = LlamaConfig(
        vocab_size=given["vocab_size"],
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        # so that log-probabilities of choices differ by more than rounding
        initializer_range=0.3,
        bos_token_id=given["bos_token_id"],
        eos_token_id=given["eos_token_id"],
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copyfile(tokenizer / "tokenizer.json", folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(tokenizer, given)))
    return folder


def _tokenizer_config(tokenizer: Path, config: Mapping[str, Any]) -> dict[str, object]:
    added = json.loads((tokenizer / "tokenizer.json").read_text())["added_tokens"]
    texts = {token["id"]: token["content"] for token in added}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": texts[config["bos_token_id"]],
        "eos_token": texts[config["eos_token_id"]],
        "clean_up_tokenization_spaces": False,
    }


def _splits(folder: Path, subject: str | None) -> datasets.DatasetDict:
    rows = {path.stem: _rows(path) for path in sorted(folder.glob("*.jsonl"))}
    if subject is not None:
        rows = {split: [row for row in held if row["subject"] == subject] for split, held in rows.items()}
    rows.setdefault("train", rows.pop("fewshot", []))
    return datasets.DatasetDict({split: datasets.Dataset.from_list(held) for split, held in rows.items()})


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _sample(logged: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "row": logged["doc_id"],
        "filter": logged["filter"],
        "arguments": logged["arguments"],
        "replies": [replies[0] for replies in logged["resps"]],
        "filtered": logged["filtered_resps"],
        "metrics": {name: logged[name] for name in logged["metrics"]},
    }


@contextmanager
def quiet() -> Iterator[None]:
    """No network, no progress bars."""
    with (
        patch("huggingface_hub.constants.HF_HUB_OFFLINE", True),
        patch("datasets.config.HF_DATASETS_OFFLINE", True),
    ):
        datasets.disable_progress_bars()
        yield
