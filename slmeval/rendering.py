"""Rendering a chat template, which is a stranger's program.

A template is rendered in jinja2's sandbox, and that in a process of its own whose time, memory and output
are bounded: a sandbox keeps a template from Python, not from looping for ever or from making a text of ten
gigabytes. The environment is the one in which transformers renders (its ``utils/chat_template_utils.py``),
but for one thing: what the sandbox forbids is an error, and not an empty text.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import IO, Any

from slmeval.children import AWAY, bare_environment
from slmeval.errors import MissingExtra

#: one conversation: messages with "role" and "content"
Chat = Sequence[Mapping[str, str]]

#: for one conversation, seconds of the processor and of the clock, and bytes of memory and of text
_SECONDS, _WAIT, _MEMORY, _LARGEST = 5, 20.0, 1 << 29, 1 << 20
#: the date that templates are told, so that a rendering is the same tomorrow
NOW = datetime(2025, 1, 1)
#: what transformers always tells a template
DEFAULTS = {"add_generation_prompt": True, "tools": None, "documents": None}
_READY = b"ready\n"
_CHILD = f"{AWAY}from slmeval.rendering import serve; serve()"


@dataclass(frozen=True)
class Rendered:
    """The text of one conversation, or (``text`` is ``None``) why it has none."""

    text: str | None
    trouble: str = ""


def can_render() -> bool:
    """Whether jinja2 is here."""
    return find_spec("jinja2") is not None


def render(
    template: str, chats: Sequence[Chat], marks: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> tuple[Rendered, ...]:
    """Each conversation as the template writes it, with the invitation to answer.

    ``marks`` are the names of special tokens (``bos_token`` and so on) with their texts, ``options`` what a
    template is told beside (``enable_thinking``, say). A template that fails, takes too long or grows too
    large gives a trouble in a sentence instead of a text; where it was ended for that, so do all that follow.

    :raises MissingExtra: jinja2 is not installed.
    """
    if not can_render():
        raise MissingExtra("jinja2, which renders chat templates,", "chat")
    names = {**DEFAULTS, **(options or {}), **marks}
    with _child([{"template": template, "names": names}, *({"chat": list(chat)} for chat in chats)]) as told:
        lines = _lines(told)
        # whatever else is printed where Python starts, by a sitecustomize say, is no answer
        begun = any(line.endswith(_READY) for line in lines)
        found = [_answer(line) for line, _ in zip(lines, chats, strict=False)]
    trouble = f"it takes more than {_SECONDS} s, {_MEMORY >> 20} MiB or {_LARGEST:,} characters of text"
    if not begun:
        trouble = (
            f"the process that would render it cannot begin: {sys.executable} must find slmeval and jinja2"
        )
    return (*found, *(Rendered(None, trouble) for _ in chats[len(found) :]))


def _answer(line: bytes) -> Rendered:
    told = json.loads(line)
    return Rendered(told["text"], told["trouble"])


@contextmanager
def _child(said: Sequence[Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told all that is said, one JSON value a line, and is gone in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=bare_environment(),
    ) as child:
        assert child.stdin is not None
        # while it is read from: neither end may wait for the other
        feeder = threading.Thread(target=_feed, args=(child.stdin, said), daemon=True)
        feeder.start()
        try:
            yield child
        finally:
            child.kill()
            feeder.join()


def _feed(pipe: IO[bytes], said: Sequence[Any]) -> None:
    # who was ended hears no more: neither what is left to say, nor what a buffer holds at closing
    with suppress(OSError), pipe:
        for each in said:
            pipe.write(json.dumps(each).encode() + b"\n")


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the child says, line by line, until it takes too long for one, or ends."""
    assert child.stdout is not None
    while True:
        timer = threading.Timer(_WAIT, child.kill)
        timer.start()
        # JSON writes a character in at most twelve bytes
        line = child.stdout.readline(13 * _LARGEST)
        timer.cancel()
        if not line.endswith(b"\n"):
            return
        yield line


# ---- in the child ------------------------------------------------------------------------------------


def serve() -> None:
    """Render what stands on stdin, line by line, and write it to stdout; limits first."""
    told = json.loads(sys.stdin.buffer.readline())
    made, compiled = _environment(), None
    _limit()
    _say(b"\n" + _READY)
    for line in sys.stdin.buffer:
        _allow_time()
        # what it draws at random is the same each time, as its date is
        random.seed(0)
        try:
            compiled = compiled or made.from_string(told["template"])
            answer = _checked(compiled.render({**told["names"], "messages": json.loads(line)["chat"]}))
        except Exception as error:  # noqa: BLE001  a stranger's program may raise anything
            answer = _trouble(" ".join(f"{type(error).__name__}: {error}"[:300].split()))
        _say(json.dumps(answer).encode() + b"\n")


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _limit() -> None:
    if sys.platform == "win32":
        return  # there the clock alone is watched, by the parent
    import resource

    bounds = {
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
    }
    for what, bound in bounds.items():
        # some systems know a limit and do not keep it
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (bound, bound))


def _allow_time() -> None:
    """So much of the processor's time from now on; the system ends who takes more."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + _SECONDS + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _checked(text: str) -> dict[str, str | None]:
    if len(text) > _LARGEST:
        return _trouble(f"its text has {len(text):,} characters, more than {_LARGEST:,}")
    return {"text": text, "trouble": ""}


def _trouble(what: str) -> dict[str, str | None]:
    return {"text": None, "trouble": what}


def _environment() -> Any:
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}``, by which templates mark what an assistant says: its text, as it stands."""

        tags = {"generation"}  # noqa: RUF012  jinja2's own way

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    class Strict(ImmutableSandboxedEnvironment):
        """Says aloud that something is forbidden; the sandbox itself would write nothing in its place."""

        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            raise SecurityError(f"it reads {attribute!r} of a {type(obj).__name__}, which is forbidden")

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    made = Strict(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = tojson
    made.globals.update(raise_exception=raise_exception, strftime_now=NOW.strftime)
    return made
