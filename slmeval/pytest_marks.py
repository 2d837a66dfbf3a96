"""What ``@pytest.mark.slmeval(...)`` says: which run is wanted, and the rules that it is held to.

Markers of a module, of a class and of a function go together: of what two of them say the nearer one counts,
and rules add up. Imported where a test has the marker, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import pytest

from slmeval.document import from_plain
from slmeval.errors import DataError, SlmevalError, UnknownName, UsageError
from slmeval.models import is_there
from slmeval.rules import EXAMPLE, Rule, parse_rule, read_rules
from slmeval.types import RunOptions

MARKER, FIXTURE = "slmeval", "slmeval_gate"

#: as the command calls them; the other keys are the fields of RunOptions
CALLED = {"backend": "backends", "model": "models", "options": "engine_options"}
_FIELDS = tuple(field.name for field in fields(RunOptions))
OWN = ("gate", "baseline", "shared", "confirm")
_DEFAULTS = (("baseline", ""), ("shared", False), ("confirm", 0))
_KEYS = tuple(dict.fromkeys((*CALLED, *_FIELDS, *OWN)))
_FROM_A_DOCUMENT = "a damaged document: "


@dataclass(frozen=True)
class Wish:
    """What a test wants: a run, and rules for it. ``baseline`` is "" where the session's is meant.

    ``shared`` compares on the items that both have, ``confirm`` is how often the undecided is measured again;
    ``asked`` is false where no marker says what to run.
    """

    options: RunOptions
    rules: tuple[Rule, ...] = ()
    baseline: str = ""
    shared: bool = False
    confirm: int = 0
    asked: bool = False


@dataclass(frozen=True)
class MadeFor:
    """The rule that a test was made for, and all rules ``of`` its function that tests were made for."""

    rule: str
    of: tuple[str, ...]


def wish_of(item: pytest.Item) -> Wish:
    """The wish of a test.

    :raises UsageError: a marker says something that nobody understands, in one sentence.
    """
    return read_marks(_marks_of(item), item.config.rootpath)


def rules_of(wish: Wish, made_for: MadeFor | None) -> tuple[Rule, ...]:
    """The rules that a test answers: the one that it was ``made_for``, and those that no test was made for.

    The latter come with its set of parameters, or are added when tests are already made.
    """
    if made_for is None:
        return wish.rules
    return tuple(each for each in wish.rules if each.text == made_for.rule or each.text not in made_for.of)


def read_marks(marks: Iterable[pytest.Mark], root: Path) -> Wish:
    """The markers' wish, the farthest marker first; paths are meant from ``root`` on, where they are there.

    :raises UsageError: as :func:`wish_of`.
    """
    said: dict[str, Any] = {}
    rules: dict[str, Rule] = {}
    for mark in marks:
        own = _by_name(mark)
        found, settings = _rules(own.pop("gate"), root) if "gate" in own else ([], {})
        rules |= {rule.text: rule for rule in found}
        said |= settings | own
    baseline, shared, confirm = (said.pop(name, default) for name, default in _DEFAULTS)
    if type(shared) is not bool:
        raise UsageError(f"marker slmeval: shared is {shared!r}, not True or False")
    if type(confirm) is not int or confirm < 0:
        raise UsageError(f"marker slmeval: confirm is {confirm!r}, not a number of times")
    named = str(root / baseline) if baseline else ""
    return Wish(_options(said, root), tuple(rules.values()), named, shared, confirm, bool(said))


def _marks_of(item: pytest.Item) -> list[pytest.Mark]:
    """The markers of a test, the farthest first, and last those of its set of parameters."""
    nearest = _marks_of_parameters(item)
    return [*(mark for mark in reversed([*item.iter_markers(MARKER)]) if mark not in nearest), *nearest]


def _marks_of_parameters(item: pytest.Item) -> list[pytest.Mark]:
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else [mark for mark in callspec.marks if mark.name == MARKER]


def _by_name(mark: pytest.Mark) -> dict[str, Any]:
    """What a marker says, by the names of the fields of RunOptions."""
    if mark.args:
        raise UsageError(f"marker slmeval: {mark.args[0]!r} has no name: write tasks=..., gate=... and so on")
    found = {}
    for key, value in mark.kwargs.items():
        if key not in _KEYS:
            raise UnknownName("key of marker slmeval", key, _KEYS)
        name = CALLED.get(key, key)
        if name in found:
            raise UsageError(f"marker slmeval: {key} and {name} are the same: give one")
        found[name] = value
    return found


# ---- from markers to tests -----------------------------------------------------------------------------


def spread(metafunc: pytest.Metafunc) -> None:
    """Make a test of each rule that the markers of a function have."""
    definition = metafunc.definition
    with explained(definition.nodeid):
        marks = [*definition.iter_markers(MARKER)][::-1]
        rules = tuple(rule.text for rule in read_marks(marks, definition.config.rootpath).rules)
    if rules:
        metafunc.fixturenames.append(FIXTURE)
        made = [MadeFor(rule, rules) for rule in rules]
        metafunc.parametrize(FIXTURE, made, ids=rules, indirect=True)


def take(item: pytest.Item) -> None:
    """See to it that a test with a gate is held to it, whether or not its function takes the fixture."""
    if not any("gate" in mark.kwargs for mark in item.iter_markers(MARKER)):
        return
    names = getattr(item, "fixturenames", None)
    if names is None:
        pytest.fail("marker slmeval: a gate is for tests that can have fixtures", pytrace=False)
    if FIXTURE not in names:
        names.append(FIXTURE)


@contextmanager
def explained(place: str = "") -> Iterator[None]:
    """A mistake, or a run that cannot be had, is one sentence, without our own lines around it."""
    try:
        yield
    except SlmevalError as error:
        told = f"{place}: {error}" if place else str(error)
        raise pytest.fail.Exception(told, pytrace=False) from None


# ---- rules --------------------------------------------------------------------------------------------


def _rules(given: object, root: Path) -> tuple[list[Rule], dict[str, Any]]:
    """Rules as one text or several, and settings; a text that ends in .toml is a file of both."""
    rules: list[Rule] = []
    settings: dict[str, Any] = {}
    for text in _listed("gate", given):
        if not text.endswith(".toml"):
            rules.append(parse_rule(text))
            continue
        found = read_rules(Path(_under(root, text)))
        rules += found.rules
        named = {"confirm": found.confirm, "shared": found.shared}
        settings |= {name: value for name, value in named.items() if value is not None}
    if not rules:
        raise UsageError(f"marker slmeval: gate is {given!r}, without a rule: it would always pass")
    return rules, settings


# ---- options ------------------------------------------------------------------------------------------


def _options(said: Mapping[str, Any], root: Path) -> RunOptions:
    plain = {name: _PLAIN.get(name, _as_it_is)(name, value) for name, value in said.items()}
    for name in ("data", "tokenizer"):
        if isinstance(plain.get(name), str):
            plain[name] = _under(root, plain[name])
    plain |= {
        name: [_under(root, each) for each in plain[name]] for name in ("models", "tasks") if name in plain
    }
    try:
        return from_plain(RunOptions, plain)
    except DataError as error:
        raise UsageError(f"marker slmeval: {str(error).removeprefix(_FROM_A_DOCUMENT)}") from None


def _as_it_is(_: str, value: object) -> object:
    return fspath(value) if isinstance(value, PathLike) else [*value] if isinstance(value, tuple) else value


def _listed(name: str, value: object) -> list[str]:
    """One text or path, or several."""
    several = [value] if isinstance(value, (str, PathLike)) else value
    # what can be read but once is empty when the second test reads it
    if not isinstance(several, Iterable) or isinstance(several, (Mapping, Iterator)):
        raise UsageError(f"marker slmeval: {name} is {value!r}, not a text or a list of texts")
    texts = [fspath(each) if isinstance(each, PathLike) else each for each in several]
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            example = f" ({EXAMPLE})" if name == "gate" else ""
            raise UsageError(f"marker slmeval: {name} has {text!r} in it, which is no text{example}")
    return texts


def _names(name: str, value: object) -> list[str]:
    """``"a,b"`` as its parts, as the command takes it."""
    return [part.strip() for text in _listed(name, value) for part in text.split(",") if part.strip()]


def _numbers(_: str, value: object) -> object:
    return [value] if isinstance(value, int) else list(value) if isinstance(value, (list, tuple)) else value


def _texts(name: str, value: object) -> dict[str, str]:
    """A dictionary with its values as the command takes them: text."""
    if not isinstance(value, Mapping):
        raise UsageError(f"marker slmeval: {name} is {value!r}, not a dictionary")
    return {key: str(each).lower() if isinstance(each, bool) else str(each) for key, each in value.items()}


#: how what a marker says becomes what a document of RunOptions says
_PLAIN: Mapping[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("backends", "tasks", "blocked_plugins"), _names),
    **dict.fromkeys(("engine_options", "pythons", "template_options"), _texts),
    "models": _listed,
    "shots": _numbers,
}


def _under(root: Path, text: str) -> str:
    """``text`` as a path from ``root`` on where there is such a thing; else as it is."""
    backend, equals, rest = text.partition("=")
    if equals and not is_there(root / text) and is_there(root / rest):
        return f"{backend}={root / rest}"
    return str(root / text) if is_there(root / text) else text
