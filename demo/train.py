"""Train the demo model from nothing: `python demo/train.py [--steps N]`.

The same steps on the same machine give bit-identical weights: the seed, the number
of threads and the order of the text are fixed, and step N's batch depends on N alone.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import start
import tokenizer as demo_tokenizer
import torch
import torch.nn.functional as F
from corpus import documents, mix
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

SEED, THREADS = 20, 1
LOW_STEPS = 200  # so many steps, those with much copying, keep to the low rate
# Batches as (rows, tokens a row): the usual one, and every 32nd one.
USUAL, LONG, LONG_EVERY = (8, 512), (2, 2048), 32
LOW, PEAK = 4e-4, 1.5e-3  # learning rates of the first steps and of the rest
RISE, FALL = 100, 0.5  # steps of either rise, share of all steps in which the rate falls
OUT = Path(__file__).parent / "out"
CONFIG = LlamaConfig(
    vocab_size=demo_tokenizer.SIZE,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=2048,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    bos_token_id=1,
    eos_token_id=2,
)


def packed(tokenizer: Tokenizer, texts: Iterator[str], length: int) -> list[int]:
    """One row of `length` ids: whole documents, each from <s> to </s>, the last one cut."""
    ids: list[int] = []
    while len(ids) < length:
        ids += [*tokenizer.encode(next(texts)).ids, CONFIG.eos_token_id]
    return ids[:length]


def shape(step: int) -> tuple[int, int]:
    """(rows, tokens a row) of this step's batch."""
    return LONG if step % LONG_EVERY == LONG_EVERY - 1 else USUAL


def batch(tokenizer: Tokenizer, step: int) -> torch.Tensor:
    """Ids of shape (rows, length + 1) for this step: inputs and targets overlap."""
    rows, length = shape(step)
    texts = [documents(f"train {step} {row}", mix(step)) for row in range(rows)]
    return torch.tensor([packed(tokenizer, text, length + 1) for text in texts])


def learning_rate(step: int, steps: int) -> float:
    """A rise to the low rate, a rise to the peak, a plateau, half a cosine down to a twentieth.

    Until the fall begins the rate does not depend on `steps`: a run that was stopped
    there may go on towards another end, and is the same as if it had had that end.
    """
    if step < LOW_STEPS:
        return LOW * min(1, (step + 1) / RISE)
    risen = min(1, (step - LOW_STEPS) / RISE)
    falling = max(0.0, 1 - (steps - step) / (FALL * steps))
    height = 0.05 + 0.95 * (1 + math.cos(math.pi * falling)) / 2
    return (LOW + (PEAK - LOW) * risen) * height


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Mean nats per token; matrix products in bfloat16, everything kept in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


def optimizer_of(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices alone."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), fused=True)


def training(
    model: LlamaForCausalLM, tokenizer: Tokenizer, steps: int, state: Path
) -> Iterator[tuple[int, float]]:
    """Train, yielding (step, loss); goes on from `state` where that exists."""
    optimizer, first = optimizer_of(model), 0
    if state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"] + 1
    # Only the usual batches are compiled: the others are too few to repay it.
    compiled = torch.compile(loss_of)
    for step in range(first, steps):
        ids = batch(tokenizer, step)
        loss = (compiled if shape(step) == USUAL else loss_of)(model, ids)
        update(model, optimizer, loss, learning_rate(step, steps))
        yield step, loss.item()
        if step % 100 == 99:
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(saved, state)


def update(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, loss: torch.Tensor, rate: float) -> None:
    """One step of the optimizer at this rate, gradients cut at length 1."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for checkpoint and weights")
    return parser.parse_args()


def main() -> None:
    """Train and save `tokenizer.json` and `weights.pt`, a float32 state."""
    wanted = options()
    wanted.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    model, tokenizer, began = start.begin(CONFIG), demo_tokenizer.make(), time.time()
    tokenizer.save(str(wanted.out / "tokenizer.json"))
    for step, loss in training(model, tokenizer, wanted.steps, wanted.out / "checkpoint.pt"):
        if step % 20 == 0 or step == wanted.steps - 1:
            print(f"step {step} loss {loss:.4f} seconds {time.time() - began:.0f}", flush=True)
    torch.save(model.state_dict(), wanted.out / "weights.pt")


if __name__ == "__main__":
    main()
