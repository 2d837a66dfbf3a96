"""What a model costs to run: how fast it reads and writes, how long one waits for it, and its memory.

Each probe is a module of its own, in which its figures are defined.
"""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Probe
from slmeval.types import Group
from slmeval_runtime.batch import Batch
from slmeval_runtime.context import Context
from slmeval_runtime.decode import Decode
from slmeval_runtime.load import Load
from slmeval_runtime.memory import Memory
from slmeval_runtime.prefill import Prefill
from slmeval_runtime.stability import Stability
from slmeval_runtime.ttft import TimeToFirstToken

PROBES = (Load(), Memory(), Prefill(), Decode(), TimeToFirstToken(), Batch(), Context(), Stability())

#: 50 tokens in and 50 out, as the survey measures them; its figures are to be had beside the others
SURVEYED = (
    Prefill("prefill_survey", prompt="50"),
    Decode("decode_survey", new_tokens="50", depth="50"),
    TimeToFirstToken("ttft_survey", prompt="50"),
)

RUNTIME = Group("runtime", tuple(probe.name for probe in PROBES))
SURVEY = Group(
    "runtime_survey",
    (*(probe.name for probe in SURVEYED), "memory"),
    version="1",
    source="Lu et al. 2024, arXiv:2409.15790, section 4: 50 tokens in, 50 out, 2,048 in the cache",
)


@hookimpl
def slmeval_register_probes() -> Iterable[Probe]:
    return (*PROBES, *SURVEYED)


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [RUNTIME, SURVEY]
