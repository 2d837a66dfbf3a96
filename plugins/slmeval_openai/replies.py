"""A server's answer to a prompt, read strictly: what does not fit is no answer, and nothing is made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from slmeval.types import EndReason, TokenIds
from slmeval_openai.documents import Garbled, field, message_of

#: ``finish_reason`` where a text ended by itself, at a stop string or an end token; TGI's names too
_ENDED = frozenset({"stop", "eos_token", "stop_sequence", "content_filter"})


#: where chat servers that take a thought out of the text put it: llama-server, SGLang; vLLM, mlx_lm, Ollama
THOUGHTS = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Written:
    """What a server wrote.

    ``stopped`` says whether a stop string ended the text, ``None`` where the server does not tell;
    ``ids`` are ``None`` where it does not tell them, as are the counts of tokens; ``fingerprint`` is the make
    of the server in its own words, not to be shown as they are; ``said`` are words for the report.
    ``thought`` is what the server took out of the text as such, ``None`` where it does not do so;
    ``thought_tokens`` is 0 where it does not count them.
    """

    text: str
    finish: str
    stopped: bool | None
    ids: TokenIds | None
    prompt_tokens: int | None
    written_tokens: int | None
    fingerprint: str = ""
    said: tuple[str, ...] = ()
    thought: str | None = None
    thought_tokens: int = 0

    def reason(self, *, cut: bool, asked_stop: bool) -> EndReason:
        """Why the text ended; ``cut``: our own look found a stop string in it.

        Where a server does not tell a stop string from an end token, a text that was given stop strings
        is said to have met one.
        """
        if cut:
            return "stop"
        if self.finish == "length":
            return "length"
        return "stop" if (asked_stop if self.stopped is None else self.stopped) else "end"


def read_completion(document: Any, most: int) -> Written:
    """An answer of ``/completions`` of at most ``most`` tokens.

    :raises Garbled: it is none.
    """
    choice = _choice(document)
    return _written(document, choice, field(choice, "text", str), _ids(choice), (), most)


def read_chat(document: Any, most: int) -> Written:
    """An answer of ``/chat/completions`` of at most ``most`` tokens.

    A thought that the server takes out is no part of its text.

    :raises Garbled: it is none.
    """
    choice = _choice(document)
    message = field(choice, "message", dict)
    if "content" not in message:
        raise Garbled("its message has no 'content'")
    if message.get("tool_calls"):
        raise Garbled("it calls tools, of which it was offered none")
    # mlx_lm.server writes an empty text as null
    text = "" if message["content"] is None else field(message, "content", str)
    said = []
    thought = _thought(message)
    if thought:
        said.append("the server thinks before it answers; what it thinks counts as tokens, and is no answer")
    if message.get("refusal"):
        said.append("the server marked answers as refusals")
    written = _written(document, choice, text, None, tuple(said), most)
    return replace(written, thought=thought, thought_tokens=_thought_tokens(document) if thought else 0)


def _thought(message: dict[str, Any]) -> str | None:
    """The thought that the server took out of the text; ``None``: it says nothing of any."""
    told = [name for name in THOUGHTS if name in message]
    given = [field(message, name, str) for name in told if message[name] is not None]
    return max(given, key=len, default="") if told else None


def _thought_tokens(document: Any) -> int:
    details = (document.get("usage") or {}).get("completion_tokens_details")
    if details is None or (isinstance(details, dict) and details.get("reasoning_tokens") is None):
        return 0
    count = field(details, "reasoning_tokens", int)
    if count < 0:
        raise Garbled("it counts fewer than no tokens")
    return count


def _choice(document: Any) -> dict[str, Any]:
    """The one choice.

    :raises Garbled: there is none, or there are several.
    """
    if isinstance(document, dict) and "choices" not in document and (said := message_of(document)):
        raise Garbled(f"it is an error with the status of success: {said}")  # as gateways send them
    choices = field(document, "choices", list)
    if len(choices) != 1:
        raise Garbled(f"it holds {len(choices)} choices in place of one")
    if field(choices[0], "index", int) != 0:
        raise Garbled("its one choice is not numbered 0")
    made: dict[str, Any] = choices[0]
    return made


def _written(
    document: Any, choice: dict[str, Any], text: str, ids: TokenIds | None, said: tuple[str, ...], most: int
) -> Written:
    finish = field(choice, "finish_reason", str)
    if finish not in _ENDED and finish != "length":
        raise Garbled(f"it ended for an unknown reason, {finish[:40]!r}")
    if finish == "content_filter":
        said = (*said, "the server's filter cut answers short")
    prompt, written = _usage(document)
    if ids is not None and written is not None and len(ids) != written:
        raise Garbled(f"it counts {written} tokens and gives {len(ids)} ids")
    # some count an end token beyond the cap
    if len(ids or ()) > most or (written or 0) > most + 1:
        raise Garbled(f"it has more tokens than the {most} that were asked for")
    made = document.get("system_fingerprint")
    make = made if isinstance(made, str) else ""
    return Written(text, finish, _stopped(choice, finish), ids, prompt, written, make, said)


def _stopped(choice: dict[str, Any], finish: str) -> bool | None:
    """vLLM says what a text stopped at in ``stop_reason`` (null at EOS), SGLang in ``matched_stop``."""
    for name in ("stop_reason", "matched_stop"):
        if name in choice:
            return isinstance(choice[name], str)
    return {"eos_token": False, "stop_sequence": True}.get(finish)


def _ids(choice: dict[str, Any]) -> TokenIds | None:
    """vLLM's ``token_ids``, which come where ``return_token_ids`` asks for them."""
    ids = choice.get("token_ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or any(type(token) is not int or token < 0 for token in ids):
        raise Garbled("its 'token_ids' are no token ids")
    return tuple(ids)


def _usage(document: Any) -> tuple[int | None, int | None]:
    """The tokens of the prompt and of the text, as counted by the server."""
    if document.get("usage") is None:
        return None, None
    usage = field(document, "usage", dict)
    prompt, written = field(usage, "prompt_tokens", int), field(usage, "completion_tokens", int)
    if prompt < 0 or written < 0:
        raise Garbled("it counts fewer than no tokens")
    return prompt, written
