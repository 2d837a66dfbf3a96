"""A quick check of the exported model with transformers alone: `python demo/evaluate.py`.

Accuracy on the choice rows, exact match on the sums, the gain from shots in the
in-context tasks, and how far the model drifts when its weights get fewer bits.
"""

import argparse
import copy
import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from export import HOME
from rows import ROWS, Row
from transformers import AutoModelForCausalLM, AutoTokenizer

Asked = tuple[str, list[str], int]  # prompt without shots, choices, index of the right one


def rows(dataset: str, split: str) -> list[Row]:
    """The bundled rows of a split."""
    lines = (ROWS / dataset / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def arc(row: Row) -> Asked:
    """A row of either arc set."""
    choices = row["choices"]
    gold = choices["label"].index(row["answerKey"])
    return f"Question: {row['question']}\nAnswer:", choices["text"], gold


def hellaswag(row: Row) -> Asked:
    """A row of hellaswag, its marks removed."""
    text = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}".strip()
    text = re.sub(r"\[.*?\]", "", text.replace(" [title]", ". ")).replace("  ", " ")
    return text, row["endings"], int(row["label"])


def piqa(row: Row) -> Asked:
    """A row of piqa."""
    return f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], row["label"]


def icl(row: Row) -> Asked:
    """A row of any in-context task."""
    return row["input"], row["choices"], row["label"]


FORMS = {
    "arc_easy": arc,
    "arc_challenge": arc,
    "hellaswag": hellaswag,
    "piqa": piqa,
    "icl_copy": icl,
    "icl_recall": icl,
    "icl_labels": icl,
    "icl_classify": icl,
}


class Demo:
    """The model and its tokenizer."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Next-token logits, shape (len(ids), vocabulary)."""
        logits: torch.Tensor = self.model(torch.tensor([list(ids)])).logits[0].float()
        return logits

    def likelihood(self, context: str, choice: str) -> float:
        """Summed log-probability (nats) of ` choice` after `context`."""
        whole = self.tokenizer(f"{context} {choice}").input_ids
        start = len(self.tokenizer(context).input_ids)
        logs = F.log_softmax(self.logits(whole[:-1]), -1)
        return sum(float(logs[at - 1, whole[at]]) for at in range(start, len(whole)))

    @torch.inference_mode()
    def answer(self, prompt: str, most: int = 60) -> str:
        """The greedy answer, cut where the next question begins."""
        ids = self.tokenizer(prompt, return_tensors="pt").input_ids
        out = self.model.generate(
            ids,
            max_new_tokens=most,
            do_sample=False,
            pad_token_id=2,
            tokenizer=self.tokenizer,
            stop_strings=["Question:"],
        )
        text: str = self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        return text.split("Question:", maxsplit=1)[0]


def shots_for(row: Row, pool: list[Row], count: int, rng: random.Random) -> list[Row]:
    """`count` rows for the prompt, of the same rule where the row has a rule."""
    return rng.sample([r for r in pool if r.get("rule") == row.get("rule")], count)


def prompt(dataset: str, row: Row, shots: list[Row]) -> str:
    """Answered blocks, then the question."""
    done = []
    for shot in shots:
        text, choices, gold = FORMS[dataset](shot)
        done.append(f"{text} {choices[gold]}\n\n")
    return "".join(done) + FORMS[dataset](row)[0]


def choose(demo: Demo, dataset: str, shots: int) -> list[tuple[bool, bool]]:
    """For each row: (right by sum, right by sum per character)."""
    rng, pool, marks = random.Random(1234), rows(dataset, "train"), []
    split = "validation" if dataset in ("hellaswag", "piqa") else "test"
    for row in rows(dataset, split):
        context = prompt(dataset, row, shots_for(row, pool, shots, rng))
        _, choices, gold = FORMS[dataset](row)
        sums = np.array([demo.likelihood(context, choice) for choice in choices])
        per_character = sums / [len(choice) for choice in choices]
        marks.append((bool(sums.argmax() == gold), bool(per_character.argmax() == gold)))
    return marks


def worked(row: Row) -> str:
    """A row of gsm8k up to its answer."""
    return f"Question: {row['question']}\nAnswer:"


def solve(demo: Demo, shots: int) -> list[bool]:
    """Exact match of each sum, by the strict `#### n`."""
    rng, pool, marks = random.Random(1234), rows("gsm8k", "train"), []
    for row in rows("gsm8k", "test"):
        done = [f"{worked(shot)} {shot['answer']}\n\n" for shot in rng.sample(pool, shots)]
        said = demo.answer("".join(done) + worked(row))
        found = re.findall(r"#### (-?[0-9]+)", said)
        marks.append(bool(found) and found[0] == row["answer"].split("#### ")[1])
    return marks


def wilson(marks: Sequence[bool]) -> str:
    """'60.0% [48, 71]': the share and its 95% interval."""
    n, p, z = len(marks), sum(marks) / len(marks), 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return f"{100 * p:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def paired(before: Sequence[bool], after: Sequence[bool]) -> str:
    """Mean gain in points with its 95% interval (paired bootstrap, 10,000 draws)."""
    gain = np.array(after, float) - np.array(before, float)
    draws = np.random.default_rng(0).choice(gain, (10000, len(gain))).mean(1)
    low, high = np.percentile(100 * draws, (2.5, 97.5))
    return f"{100 * gain.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def rounded(weight: torch.Tensor, bits: int, group: int = 32) -> torch.Tensor:
    """`weight` on a grid of `bits` bits, scaled by the largest of each `group` in a row."""
    parts = weight.reshape(-1, group)
    top = 2 ** (bits - 1) - 1
    scale = parts.abs().amax(1, keepdim=True).clamp_min(1e-12) / top
    grid = (parts / scale).round().clamp(-top, top)
    whole: torch.Tensor = (grid * scale).reshape(weight.shape)
    return whole


def with_bits(demo: Demo, bits: int) -> Demo:
    """A copy whose matrices are rounded."""
    copied = copy.copy(demo)
    copied.model = copy.deepcopy(demo.model)
    for value in copied.model.parameters():
        if value.dim() == 2:
            value.data = rounded(value.data, bits)
    return copied


def divergence(full: Demo, other: Demo, texts: Sequence[str]) -> float:
    """Mean KL divergence, nats per token, of the full model's next tokens to the other's."""
    total, count = 0.0, 0
    for text in texts:
        ids = full.tokenizer(text).input_ids
        p, q = (F.log_softmax(one.logits(ids), -1) for one in (full, other))
        total += float(F.kl_div(q, p, log_target=True, reduction="sum"))
        count += len(ids)
    return total / count


def bits_table(demo: Demo) -> None:
    """Divergence and arc_easy accuracy as the bits fall."""
    texts = [f"{arc(r)[0]} {arc(r)[1][arc(r)[2]]}" for r in rows("arc_easy", "test")]
    texts += [f"{worked(r)} {r['answer']}" for r in rows("gsm8k", "test")]
    for bits in (8, 6, 5, 4, 3, 2):
        other = with_bits(demo, bits)
        right = [total for total, _ in choose(other, "arc_easy", 0)]
        drift = divergence(demo, other, texts)
        print(f"{bits} bits: KL {drift:.5f}, arc_easy {wilson(right)}", flush=True)


def choice_table(demo: Demo) -> None:
    """Accuracy of every choice task at 0 and 5 shots, and the gain."""
    for dataset in FORMS:
        none, five = choose(demo, dataset, 0), choose(demo, dataset, 5)
        for at, metric in enumerate(("acc", "acc_norm")):
            before, after = [m[at] for m in none], [m[at] for m in five]
            print(
                f"{dataset} {metric}: 0 shots {wilson(before)}, 5 shots {wilson(after)}, "
                f"gain {paired(before, after)}",
                flush=True,
            )


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HOME / "model")
    parser.add_argument("--only", choices=("choices", "sums", "bits"))
    wanted = parser.parse_args()
    torch.set_num_threads(2)
    demo = Demo(wanted.model)
    if wanted.only in (None, "choices"):
        choice_table(demo)
    if wanted.only in (None, "sums"):
        for shots in (0, 5):
            print(f"gsm8k exact match, {shots} shots: {wilson(solve(demo, shots))}", flush=True)
    if wanted.only in (None, "bits"):
        bits_table(demo)


if __name__ == "__main__":
    main()
