"""Who may do what: tokens, their scopes, and how one is recognized.

A token is ``slm_`` and 32 random bytes; the store keeps its SHA-256 alone. A hash without salt or rounds is
enough for a secret of 256 bits, which nobody can guess one by one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from slmeval.errors import UsageError
from slmeval.service.desk import Desk
from slmeval.service.ledger import now
from slmeval.service.sessions import Sessions
from slmeval.service.settings import Settings
from slmeval.service.slowing import Slowing
from slmeval.store import Store

Scope: TypeAlias = Literal["read", "submit", "work", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: what a scope brings with it
_BRINGS: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "submit": frozenset({"read", "submit"}),
    "work": frozenset({"work"}),
    "admin": frozenset(SCOPES),
}
_PREFIX = "slm_"
#: of a token
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: seconds for which what the store said of its tokens holds: a token removed by another process ends then
_HOLDS = 1.0


@dataclass(frozen=True)
class Caller:
    """Who asks. ``name`` is that of the token, "" where none is needed; ``scopes`` are all that it may.

    ``local`` marks the device that the server itself started on its own machine. ``sha256`` is of the token.
    """

    name: str
    scopes: frozenset[Scope]
    local: bool = False
    sha256: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True)
class Token:
    """A token as the store has it. ``created`` is ISO 8601, UTC."""

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created: str

    @property
    def caller(self) -> Caller:
        """Whoever has it."""
        return Caller(self.name, frozenset[Scope]().union(*(_BRINGS[scope] for scope in self.scopes)))


#: everybody, while the server can be reached from its own machine alone and has no tokens
ANYBODY = Caller("", _BRINGS["submit"])


class Tokens:
    """The tokens in an open store. Errors are the store's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, name: str, scopes: Collection[str]) -> str:
        """Make one; it is returned this once, and kept nowhere.

        :raises slmeval.errors.UsageError: the name is taken or no name, or a scope is none.
        """
        check_name(name)
        ordered = _checked_scopes(scopes)
        token = _PREFIX + secrets.token_urlsafe(32)
        with self._store.writing() as db:
            if db.execute("SELECT 1 FROM tokens WHERE name = ?", (name,)).fetchone():
                raise NameTaken(f"there is a token {name!r} already: remove it first, or take another name")
            row = (name, ",".join(ordered), hash_of(token), now())
            db.execute("INSERT INTO tokens (name, scopes, sha256, created) VALUES (?, ?, ?, ?)", row)
        return token

    def remove(self, name: str) -> bool:
        """Whether there was one of that name; it is worth nothing from now on."""
        with self._store.writing() as db:
            return db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount > 0

    def listed(self) -> list[Token]:
        """All of them, by name."""
        rows = self._store.select("SELECT name, scopes, sha256, created FROM tokens ORDER BY name")
        return [Token(name, _known(scopes), sha256, created) for name, scopes, sha256, created in rows]


class NameTaken(UsageError):
    """There is a token of that name."""


class Keys:
    """The tokens of a running server, and the sessions that were opened with them."""

    def __init__(self, settings: Settings, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._desk, self._clock = settings, desk, clock
        #: lets the server's own device work; made at each start, and in memory alone
        self.local_token = _PREFIX + secrets.token_urlsafe(32)
        self.sessions = Sessions(clock)
        self.slowing = Slowing(clock)
        #: what forms are marked with
        self.secret = secrets.token_bytes(32)
        self._known: Sequence[Token] = ()
        self._until = float("-inf")

    async def caller(self, token: str | None) -> Caller | None:
        """Whose token it is; without one, :data:`ANYBODY` where none is needed. ``None``: nobody's."""
        if token is None:
            return ANYBODY if await self._is_open() else None
        return await self.of_hash(hash_of(token))

    async def of_hash(self, sha256: str) -> Caller | None:
        """As :meth:`caller`, by the token's hash."""
        if (found := self._among(await self.listed(), sha256)) is None:
            # it may have been made this moment, by another process
            self._until = float("-inf")
            found = self._among(await self.listed(), sha256)
        return found

    def _among(self, tokens: Sequence[Token], sha256: str) -> Caller | None:
        """All are compared, each in the same time."""
        own = Token("local", ("work",), hash_of(self.local_token), "")
        found: Caller | None = None
        for each in (*tokens, own):
            if hmac.compare_digest(each.sha256, sha256):
                found = Caller(each.name, each.caller.scopes, each is own, each.sha256)
        return found

    async def still(self, caller: Caller) -> bool:
        """Whether the token that somebody came with is there: one that listens for days came long ago."""
        if not caller.sha256:
            return await self._is_open()
        return await self.of_hash(caller.sha256) is not None

    async def listed(self) -> Sequence[Token]:
        """All tokens, as they were a second ago at most."""
        if self._clock() >= self._until:
            self._known = await self._desk.read(lambda store: Tokens(store).listed())
            self._until = self._clock() + _HOLDS
        return self._known

    async def add(self, name: str, scopes: Collection[str]) -> str:
        """As :meth:`Tokens.add`."""
        token = await self._desk.write(lambda store: Tokens(store).add(name, scopes))
        self._until = float("-inf")
        return token

    async def remove(self, name: str) -> bool:
        """As :meth:`Tokens.remove`."""
        found = await self._desk.write(lambda store: Tokens(store).remove(name))
        self._until = float("-inf")
        return found

    async def _is_open(self) -> bool:
        return not is_exposed(self._settings) and not await self.listed()


def is_exposed(settings: Settings) -> bool:
    """Whether others than this machine may reach it: by its address, or through what forwards to it."""
    return not settings.is_local or bool(settings.hosts)


def check_exposed(settings: Settings, store: Store) -> None:
    """:raises slmeval.errors.UsageError: it can be reached from elsewhere, and nobody would need a token."""
    if is_exposed(settings) and not Tokens(store).listed():
        where = settings.host if not settings.is_local else f"the name {settings.hosts[0]}"
        raise UsageError(
            f"other machines could reach {where}, and the store has no token to tell who may: make one with"
            f" slmeval token add NAME --scopes submit --store {store.path}"
        )


def check_name(name: str) -> None:
    """:raises slmeval.errors.UsageError: it is no name of a token."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name of a token: up to 64 letters, digits, '.', '_', '-', first no mark"
        )


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _checked_scopes(scopes: Collection[str]) -> list[Scope]:
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        told = f"{wrong[0][:80]!r} is no scope" if wrong else "a token needs a scope"
        raise UsageError(f"{told}: read, submit (and read), work (devices), admin (everything)")
    return [scope for scope in SCOPES if scope in scopes]


def _known(scopes: str) -> tuple[Scope, ...]:
    """A scope that this version does not know gives nothing."""
    return tuple(scope for scope in SCOPES if scope in scopes.split(","))
