"""What the frames between parent and worker say.

In order of a job::

    worker  hello        {protocol, version, python, pid}
    parent  describe     {backend, options, blocked}     -> worker  described {fingerprint}
    parent  model        {location, revision, tokenizer}
    parent  open         {}                              -> worker  opened {info, notes, lacking}
    parent  unit         {number, unit}                  -> worker  progress, ...
                                                            worker  answers {number, replies, notes}
                                                            or      unanswerable {number, message}
    parent  probe        {number, probe, settings, seed, beginning, yardstick} -> worker  progress, ...
                                                            worker  measured {number, lacks, measurement,
                                                                              info, notes, lacking}
                                                            or      unmeasured {number, message}
    parent  stream       {number, probe, settings, seed, figure} -> worker  progress, ...
                                                            worker  streaming {number, lacks, streams, unit,
                                                                               higher_is_better}
                                                            or      unmeasured {number, message}
    parent  turn         {number, seconds}               -> worker  progress, ...
                                                            worker  turned {number, values}
                                                            or      unmeasured {number, message}
    parent  cancel                                       -> worker  cancelled
    worker  failed       {error, message}                at any time; the worker then ends
    end of file                                          whoever reads it ends

Payloads are JSON. Floats keep every bit that way; ``Infinity`` is allowed between our two ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slmeval.document import from_plain, to_plain
from slmeval.plan import GenerateUnit, ScoreUnit, Unit
from slmeval.types import Completion, GenerationSettings, Likelihood, Prompt, Reply, ScoreGroup

#: goes up whenever an older end would misread a newer one
PROTOCOL = 5

Message = dict[str, Any]


class ProtocolError(Exception):
    """The other end does not speak this protocol."""


def encode(kind: str, **fields: Any) -> bytes:
    """One message as a frame's payload."""
    return json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode()


def decode(payload: bytes) -> Message:
    """:raises ProtocolError: the payload is no message."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame that is not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ProtocolError("a frame without a kind")
    return message


def pack_unit(unit: Unit) -> Message:
    """A unit as plain JSON values."""
    if isinstance(unit, ScoreUnit):
        groups = [[group.context, group.continuations, group.shared] for group in unit.groups]
        return {"kind": "score", "groups": groups}
    prompts = [[prompt.ids, prompt.shared, prompt.seed] for prompt in unit.prompts]
    return {"kind": "generate", "prompts": prompts, "settings": to_plain(unit.settings)}


def unpack_unit(packed: Mapping[str, Any]) -> Unit:
    """The unit that :func:`pack_unit` packed."""
    if packed["kind"] == "score":
        return ScoreUnit(
            tuple(
                ScoreGroup(tuple(context), tuple(map(tuple, continuations)), shared)
                for context, continuations, shared in packed["groups"]
            )
        )
    return GenerateUnit(
        tuple(Prompt(tuple(ids), shared, seed) for ids, shared, seed in packed["prompts"]),
        from_plain(GenerationSettings, packed["settings"]),
    )


def pack_replies(replies: Iterable[Iterable[Reply]]) -> list[list[Any]]:
    """Replies, group by group, as plain JSON values."""
    return [[_pack_reply(reply) for reply in group] for group in replies]


def _pack_reply(reply: Reply) -> list[Any]:
    if isinstance(reply, Likelihood):
        return ["l", reply.token_logprobs, reply.greedy]
    return ["c", reply.text, reply.ids, reply.reason, reply.thought, reply.thought_tokens]


def unpack_replies(packed: Iterable[Iterable[list[Any]]]) -> tuple[tuple[Reply, ...], ...]:
    """The replies that :func:`pack_replies` packed.

    :raises ProtocolError: they are not of that shape; what is in them is not looked at.
    """
    try:
        return tuple(tuple(_unpack_reply(reply) for reply in group) for group in packed)
    except (TypeError, IndexError) as error:
        raise ProtocolError(f"a reply of another shape ({error})") from None


def _unpack_reply(packed: list[Any]) -> Reply:
    if packed[0] == "l":
        return Likelihood(tuple(packed[1]), packed[2])
    return Completion(packed[1], tuple(packed[2]), *packed[3:6])
