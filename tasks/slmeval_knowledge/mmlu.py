"""MMLU: questions with four choices from 57 subjects, from school to profession.

One row::

    {"question": "Which planet is the largest of the solar system?", "subject": "astronomy",
     "choices": ["Mars", "Venus", "Jupiter", "Neptune"], "answer": 2}

Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding", arXiv:2009.03300. Prompt,
examples (the first rows of dev) and metric are those of the tasks of the group mmlu, version 1.0 (the groups
2), in lm-evaluation-harness 0.4.13 (``mmlu/default``).
"""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.tasks import LetteredChoice, text, texts, whole_number
from slmeval.types import DatasetSpec, Group, Row

#: by category the subjects, each with the rows of its test split: 14,042 in all
_SUBJECTS = {
    "stem": """
        abstract_algebra 100  anatomy 135  astronomy 152  college_biology 144  college_chemistry 100
        college_computer_science 100  college_mathematics 100  college_physics 102  computer_security 100
        conceptual_physics 235  electrical_engineering 145  elementary_mathematics 378
        high_school_biology 310  high_school_chemistry 203  high_school_computer_science 100
        high_school_mathematics 270  high_school_physics 151  high_school_statistics 216
        machine_learning 112
    """,
    "other": """
        business_ethics 100  clinical_knowledge 265  college_medicine 173  global_facts 100
        human_aging 223  management 103  marketing 234  medical_genetics 100  miscellaneous 783
        nutrition 306  professional_accounting 282  professional_medicine 272  virology 166
    """,
    "social_sciences": """
        econometrics 114  high_school_geography 198  high_school_government_and_politics 193
        high_school_macroeconomics 390  high_school_microeconomics 238  high_school_psychology 545
        human_sexuality 131  professional_psychology 612  public_relations 110  security_studies 245
        sociology 201  us_foreign_policy 100
    """,
    "humanities": """
        formal_logic 126  high_school_european_history 165  high_school_us_history 204
        high_school_world_history 237  international_law 121  jurisprudence 108  logical_fallacies 163
        moral_disputes 346  moral_scenarios 895  philosophy 311  prehistory 324  professional_law 1534
        world_religions 171
    """,
}


def choices(row: Row) -> Sequence[str]:
    found = texts(row, "choices")
    if len(found) != 4:
        raise ValueError(f"there are {len(found)} choices, and MMLU has 4")
    return found


def _task(subject: str, rows: int) -> LetteredChoice:
    return LetteredChoice(
        name=f"mmlu_{subject}",
        version="1.0",
        dataset=DatasetSpec(
            name="mmlu",
            evaluation="test",
            shots="dev",
            fields=("question", "subject", "choices", "answer"),
            hub="cais/mmlu",
            # lm-evaluation-harness reads a configuration for each subject; "all" is these one after the
            # other, so that the rows of a subject stand in it in the same order
            config="all",
            rows=rows,
            licence="MIT",
            source="MMLU, Hendrycks et al. 2021",
            where=("subject", subject),
        ),
        question=lambda row: text(row, "question").strip(),
        choices=choices,
        gold=lambda row: whole_number(row, "answer"),
        description="The following are multiple choice questions (with answers) about "
        f"{subject.replace('_', ' ')}.\n\n",
        chance=0.25,
        shot_order="first",
    )


def _tasks(table: str) -> tuple[LetteredChoice, ...]:
    words = table.split()
    return tuple(_task(subject, int(rows)) for subject, rows in zip(words[::2], words[1::2], strict=True))


def _group(name: str, members: Sequence[str]) -> Group:
    return Group(
        name,
        tuple(members),
        average=("acc", "acc_corrected", "chance", "bits_per_byte", "margin"),
        over="rows",
        version="2",
        source="lm-evaluation-harness 0.4.13, mmlu/default",
    )


_BY_CATEGORY = {f"mmlu_{category}": _tasks(table) for category, table in _SUBJECTS.items()}

MMLU = tuple(task for tasks in _BY_CATEGORY.values() for task in tasks)
MMLU_GROUPS = (
    _group("mmlu", tuple(_BY_CATEGORY)),
    *(_group(category, [task.name for task in tasks]) for category, tasks in _BY_CATEGORY.items()),
)
