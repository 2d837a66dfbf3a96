"""GSM8K twice: each problem with its own numbers, and with others that are in no file.

One row, of GSM8K::

    {"question": "A box holds 6 eggs. How many eggs are in 14 boxes?",
     "answer": "There are 6 * 14 = <<6*14=84>>84 eggs.\\n#### 84"}

A model that solves problems scores about the same on both; one that remembers the published ones scores
higher on these. After Mirzadeh et al. 2024, "GSM-Symbolic", arXiv:2410.05229, and Zhang et al. 2024, "A
Careful Examination of Large Language Model Performance on Grade School Arithmetic" (GSM1k),
arXiv:2405.00332. Other numbers may be harder by themselves: a gain is a signal, to be set beside other
models', and no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slmeval.api import Metric, Task
from slmeval.datasets import DataSource, Rows, made_rows
from slmeval.errors import DataError
from slmeval.statistics import gain_figure
from slmeval.tasks import text
from slmeval.types import Answer, Completion, DatasetSpec, Figure, Row, Sample, Use
from slmeval_math.annotations import CannotRenumber
from slmeval_math.gsm8k import GSM8K
from slmeval_math.renumbering import renumbered
from slmeval_math.same_number import same
from slmeval_math.stated_number import numbers, stated, written


@dataclass(frozen=True)
class Gsm8kRenumbered(Task):
    """Each row of GSM8K that can have other numbers, asked as it is and with them after the same examples."""

    name: str = field(default="gsm8k_renumbered", init=False)
    version: str = field(default="1.0", init=False)
    kind: str = field(default="generation", init=False)
    dataset: DatasetSpec = field(default=GSM8K.dataset, init=False)
    shots: int = field(default=GSM8K.shots, init=False)
    metrics: tuple[Use, ...] = field(
        default=(
            Use("replied_number", {"place": 0}, label="acc_published"),
            Use("replied_number", {"place": 1}, label="acc_renumbered"),
            Use("published_gain"),
        ),
        init=False,
    )

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows of the data set; of those to be asked the ones that can have other numbers.

        :raises slmeval.errors.DataError: rows are missing or damaged, or none can.
        """
        rows = GSM8K.load(source, split)
        if split != self.dataset.evaluation:
            return rows
        kept = [place for place, row in enumerate(rows.rows) if _can(row)]
        if not kept:
            raise DataError(
                f"{rows.source}: none of its rows can have other numbers: bring rows with numbers in the "
                "question and GSM8K's arithmetic (<<6*14=84>>) in the answer"
            )
        made = made_rows((rows.rows[place] for place in kept), rows.source, "")
        return replace(
            made,
            source=f"{rows.source}, the {len(kept)} of {len(rows.rows)} rows that can have other numbers",
            files=rows.files,
            kept=tuple(kept),
        )

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """Two requests. The target is both answers, a line each.

        :raises ValueError: the row cannot have other numbers, and why.
        """
        other = renumbered(text(row, "question"), text(row, "answer"))
        new = {"question": other.question, "answer": f"#### {written(other.answer)}"}
        asked = [GSM8K.sample(each, shots) for each in (row, new)]
        right = [written(numbers(str(each.target).rpartition("####")[2])[0]) for each in asked]
        requests = tuple(request for each in asked for request in each.requests)
        return Sample(requests, "\n".join(right), asked=asked[0].asked)


def _can(row: Row) -> bool:
    try:
        renumbered(text(row, "question"), text(row, "answer"))
    except CannotRenumber:
        return False
    except ValueError:
        return True  # a damaged row: told where it stands when it is to be asked
    return True


class RepliedNumber(Metric):
    """Is the number that the text at ``place`` gives the right one? 0: the published row, 1: the other."""

    name = "replied_number"
    proportion = True

    def __init__(self, place: int) -> None:
        self._place = place

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task does not ask twice.
        """
        return _rights(answer)[self._place]


class PublishedGain(Metric):
    """How much more often the published rows are solved than the same rows with other numbers.

    A score is the difference of the two. The interval is that of a paired difference of two proportions.
    """

    name = "published_gain"
    higher_is_better = None

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task does not ask twice.
        """
        published, other = _rights(answer)
        return published - other

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:  # noqa: ARG002
        """The mean, with what it does and does not say."""
        # only differences matter to the interval, so each stands for one pair that has it
        pairs = [(max(0.0, -score), max(0.0, score)) for score in scores]
        figure = gain_figure(name, [other for other, _ in pairs], [published for _, published in pairs])
        note = figure.note or "a signal, not a verdict: above 0 where the published rows are remembered"
        return replace(figure, note=note, higher_is_better=None)


def _rights(answer: Answer) -> tuple[float, float]:
    replies = [reply.text for reply in answer.replies if isinstance(reply, Completion)]
    right = str(answer.sample.target).split("\n")
    if len(replies) != 2 or len(right) != 2:
        raise TypeError("renumbered problems are asked twice, and have two right answers")
    published, other = (_is_right(reply, wanted) for reply, wanted in zip(replies, right, strict=True))
    return published, other


def _is_right(reply: str, right: str) -> float:
    found = stated(reply)
    return float(found is not None and same(found, numbers(right)[0]))


GSM8K_RENUMBERED = Gsm8kRenumbered()
