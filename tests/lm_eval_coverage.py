"""Writes ``docs/parity.md``: which tasks are compared with lm-evaluation-harness, and which are not and why.

python tests/lm_eval_coverage.py --write
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lm_eval_tasks import definition
from written_rows import DATASETS

from slmeval.api import Task
from slmeval.registry import load

#: by the beginning of their names, tasks that lm-eval has not, and why
NOT_COVERED = {
    "contamination_": "our own: lm-evaluation-harness has no such signals",
    "gsm8k_renumbered": "our own: other numbers, which lm-evaluation-harness has not",
    "icl_": "our own: generated, no data set",
    "mawps": "lm-evaluation-harness has no such task",
    "svamp": "lm-evaluation-harness has no such task",
    "strategyqa": "our own: lm-evaluation-harness has only BIG-bench's, whose rows are finished prompts",
}
#: by the beginning of their names, tasks that are compared in a test of their own, and their groups
FAMILIES = {
    "bbh_cot_fewshot_": "`bbh`, `bbh_cot_fewshot`",
    "bbh_fewshot_": "`bbh_fewshot`",
    "bbh_cot_zeroshot_": "`bbh_cot_zeroshot`",
    "bbh_zeroshot_": "`bbh_zeroshot`",
}
_HEAD = """# The same numbers as lm-evaluation-harness

For each task below the tests compare with lm-evaluation-harness 0.4.13: prompts and continuations byte for
byte at 0 shots and, with `--compat lm-eval`, at 5, or with all of a task's fixed examples; version, data set
and draws of the examples; every metric that it defines, from equal log-probabilities, to 1e-9; what is found
in hard texts, and whether it counts as right; and log-probabilities on a random Llama of 4,096 positions,
within 1e-3 (`tests/test_lm_eval_parity.py`, `tests/test_lm_eval_numbers.py`, `tests/test_math_parity.py`,
`tests/test_bbh_parity.py`). This page is generated: `python tests/lm_eval_coverage.py --write`.

| task | lm-evaluation-harness's version | rows | shots compared | |
|---|---|---|---|---|
"""


def document() -> str:
    """The whole page."""
    tasks = load().parts.tasks
    lines = [_line(task) for name, task in tasks.items() if not name.startswith(("mmlu_", *FAMILIES))]
    subjects = [task for name, task in tasks.items() if name.startswith("mmlu_")]
    lines.append(
        _covered(f"`mmlu_...` ({len(subjects)} subjects), groups `mmlu`, `mmlu_stem`, ...", subjects[0])
    )
    lines += [_family(prefix, groups, list(tasks.values())) for prefix, groups in FAMILIES.items()]
    return _HEAD + "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _family(prefix: str, groups: str, tasks: Sequence[Task]) -> str:
    found = [task for task in tasks if task.name.startswith(prefix)]
    several = "groups" if "," in groups else "group"
    name = f"`{prefix}...` ({len(found)} subtasks), {several} {groups}"
    return _covered(name, found[0], "real, and written for the test")


def _line(task: Task) -> str:
    if definition(task.name) is not None:
        return _covered(f"`{task.name}`", task)
    prefix, reason = next((each for each in NOT_COVERED.items() if task.name.startswith(each[0])), ("", ""))
    return f"| `{prefix}{'...' if prefix.endswith('_') else ''}` | | | | not compared: {reason} |"


def _covered(name: str, task: Task, rows: str = "") -> str:
    rows = rows or ("written for the test" if task.dataset.name in DATASETS else "real")
    shots = "0" if task.dataset.shots is None or task.lm_eval_zero_shot else f"0, {shown(task)}"
    why = "it shows no examples, whatever is asked for" if task.lm_eval_zero_shot else ""
    return f"| {name} | {task.version} | {rows} | {shots} | {why} |"


def shown(task: Task) -> int:
    """At how many shots prompts are compared: at all examples where these are always the same."""
    return task.shots if task.shot_order == "first" and task.shots else 5


if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "parity.md"
    if "--write" in sys.argv:
        page.write_text(document(), encoding="utf-8")
    else:
        sys.stdout.write(document())
