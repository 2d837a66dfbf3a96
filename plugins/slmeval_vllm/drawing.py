"""How vLLM draws: by the rule of all engines where its runner lets us choose the token, else by its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from slmeval.sampling import Sampler
from slmeval.types import GenerationSettings

#: vLLM takes a lower temperature for this one (``_MAX_TEMP`` of its sampling_params)
COLDEST = 0.01
#: the name under which a request tells what it is drawn by
_TOLD = "slmeval"


def takes_our_rule(config: Any) -> bool:
    """Whether :class:`Drawing` can be run under ``config``: vLLM's second runner knows no such class."""
    return not getattr(config, "use_v2_model_runner", True)


def our_rule(settings: GenerationSettings, seed: int) -> dict[str, Any]:
    """Fields of a request whose tokens :class:`Drawing` chooses."""
    return {"temperature": 0.0, "extra_args": {_TOLD: (settings.temperature, settings.top_p, seed)}}


def own_rule(settings: GenerationSettings, seed: int) -> dict[str, Any]:
    """Fields of a request that vLLM draws: from the whole distribution but for ``top_p``."""
    told = {"temperature": settings.temperature, "top_p": settings.top_p}
    return {**told, "top_k": 0, "min_p": 0.0, "seed": seed}


class Drawing(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM is not there for mypy
    """Leaves of a request's logits the drawn token alone."""

    def is_argmax_invariant(self) -> bool:
        """It is not: that is what it is for."""
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Any:
        """What draws one text, where it is a drawn one."""
        told = (params.extra_args or {}).get(_TOLD)
        return _Drawn(*told) if told else None


class _Drawn:
    """Draws one text; it may be asked for one token twice, for it is asked after parts of a prompt too."""

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self._settings, self._seed = GenerationSettings(temperature=temperature, top_p=top_p), seed

    def __call__(self, written: list[int], logits: Tensor) -> Tensor:
        # what is no number stays, and is found out when it is the likeliest
        if not bool(logits.max().isfinite()):
            return logits
        sampler = Sampler(self._settings, self._seed, drawn=len(written))
        alone = torch.full_like(logits, -torch.inf)
        alone[sampler.draw(logits.float().cpu().numpy())] = 0
        return alone
