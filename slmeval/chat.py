"""Chat templates: where a model keeps its own, and rendering one, which is a stranger's program.

A template is rendered in jinja2's sandbox, and that in a process of its own whose time, memory and output
are bounded: a sandbox keeps a template from Python, not from looping for ever or from making a text of ten
gigabytes. The environment is the one in which transformers renders (its ``utils/chat_template_utils.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from slmeval.environments import AWAY
from slmeval.errors import MissingExtra, ModelError
from slmeval.gguf_file import read_gguf
from slmeval.models import FoundModel
from slmeval.tokenizing import read_json

#: one conversation: messages with "role" and "content"
Chat = Sequence[Mapping[str, str]]

#: seconds of the processor and of the clock, and bytes of memory and of text, that rendering may take
_SECONDS, _WAIT, _MEMORY, _LARGEST = 5, 20.0, 1 << 29, 1 << 20
#: the date that templates are told, so that a rendering is the same tomorrow
_NOW = datetime(2025, 1, 1)
#: what a child needs of the environment; keys and tokens of services are none of a template's business
_PASSED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_CHILD = f"{AWAY}from slmeval.chat import serve; serve()"


@dataclass(frozen=True)
class Rendered:
    """The text of one conversation, or (``text`` is ``None``) why it has none."""

    text: str | None
    trouble: str = ""


def find_template(model: FoundModel) -> str | None:
    """The model's own template, the one named "default" of several; ``None`` where it has none.

    In a folder ``chat_template.jinja`` goes before ``tokenizer_config.json``, as in transformers; in a GGUF
    file it is ``tokenizer.chat_template``.

    :raises ModelError: a file cannot be read.
    """
    if model.form == "gguf":
        found = read_gguf(model.place).metadata.get("tokenizer.chat_template")
        return found if isinstance(found, str) else None
    if model.form != "folder":
        return None
    own = model.place / "chat_template.jinja"
    if own.is_file():
        try:
            return own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{own} cannot be read: {error}") from None
    return _default(read_json(model.place / "tokenizer_config.json").get("chat_template"))


def _default(found: Any) -> str | None:
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def can_render() -> bool:
    """Whether jinja2 is here."""
    return find_spec("jinja2") is not None


def render(template: str, chats: Sequence[Chat], marks: Mapping[str, str]) -> tuple[Rendered, ...]:
    """Each conversation as the template writes it, with the invitation to answer.

    ``marks`` are the names of special tokens (``bos_token`` and so on) with their texts. A template that
    fails, takes too long or grows too large gives a trouble in a sentence instead of a text.

    :raises MissingExtra: jinja2 is not installed.
    """
    if not can_render():
        raise MissingExtra("jinja2, which renders chat templates,", "chat")
    task = json.dumps({"template": template, "chats": [list(chat) for chat in chats], "marks": dict(marks)})
    told = _told_by_child(task.encode())
    try:
        answers = json.loads(told)
        return tuple(Rendered(each["text"], each["trouble"]) for each in answers)
    except (ValueError, TypeError, KeyError):
        trouble = f"it takes more than {_SECONDS} s, {_MEMORY >> 20} MiB or {_LARGEST:,} bytes of text"
        return tuple(Rendered(None, trouble) for _ in chats)


def _told_by_child(task: bytes) -> bytes:
    """What the child says, as far as it may; "" where it was ended."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED if name in os.environ},
    )
    timer = threading.Timer(_WAIT, child.kill)
    timer.start()
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(OSError):
            child.stdin.write(task)
            child.stdin.close()
        # one conversation's text may be that long, and JSON writes a character in six
        return child.stdout.read(8 * 6 * _LARGEST)
    finally:
        timer.cancel()
        child.kill()
        with child:
            pass


# ---- in the child ------------------------------------------------------------------------------------


def serve() -> None:
    """Render what stands on stdin, and write it to stdout; limits first."""
    task = json.loads(sys.stdin.buffer.read())
    from jinja2.ext import loopcontrols  # noqa: F401  all that is imported is imported before the limits

    _limit()
    answers = [_one(task["template"], chat, task["marks"]) for chat in task["chats"]]
    sys.stdout.buffer.write(json.dumps(answers).encode())
    sys.stdout.buffer.flush()


def _limit() -> None:
    if sys.platform == "win32":
        return  # there the time alone is bounded
    import resource

    bounds = {
        resource.RLIMIT_CPU: _SECONDS,
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
    }
    for what, bound in bounds.items():
        # some systems know a limit and do not keep it
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (bound, bound))


def _one(template: str, chat: Chat, marks: Mapping[str, str]) -> dict[str, str | None]:
    try:
        text = _environment().from_string(template).render(messages=chat, add_generation_prompt=True, **marks)
    except Exception as error:  # noqa: BLE001  a stranger's program may raise anything
        return {"text": None, "trouble": f"{type(error).__name__}: {error}"[:300]}
    if len(text) > _LARGEST:
        return {"text": None, "trouble": f"its text has {len(text):,} characters, more than {_LARGEST:,}"}
    return {"text": text, "trouble": ""}


def _environment() -> Any:
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}``, by which templates mark what an assistant says: its text, as it stands."""

        tags = {"generation"}  # noqa: RUF012  jinja2's own way

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **settings)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = tojson
    made.globals.update(raise_exception=raise_exception, strftime_now=_NOW.strftime)
    return made
