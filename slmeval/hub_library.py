"""huggingface_hub as it is used here: whether it is there, how long it waits, and what its errors are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from slmeval.errors import MissingExtra, UsageError

ValueT = TypeVar("ValueT")

#: of huggingface_hub: the release, as far as it counts, and what it is
_OLDEST = (1, 3)
_WHAT = "huggingface_hub, which fetches data sets,"
#: seconds in which a server must begin to answer, and go on
TIMEOUT = 30.0
_NOT_UNDERSTOOD = "the hub cannot be asked, or does not answer as one (HF_ENDPOINT, HF_TOKEN, the proxy)"


def library() -> ModuleType:
    """huggingface_hub.

    :raises MissingExtra: it is not installed, or is too old.
    :raises UsageError: ``HF_ENDPOINT`` is no address; the library would fail as it is imported.
    """
    _check_address()
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise MissingExtra(_WHAT, "data") from None
    # tokenizers brings an older one along
    if tuple(map(int, huggingface_hub.__version__.split(".")[:2])) < _OLDEST:
        raise MissingExtra(_WHAT, "data", f"is {huggingface_hub.__version__}, too old")
    return huggingface_hub


def _check_address() -> None:
    address = os.environ.get("HF_ENDPOINT")
    try:
        parts = urlsplit(address or "")
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if address is not None and not known:
        raise UsageError(
            f"HF_ENDPOINT is {without_password(address)!r}, which is not the address of a hub: http:// or "
            "https:// and a host"
        )


def without_password(text: str) -> str:
    """A text without what stands before the hosts of the addresses in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def _bound_all(hub: ModuleType) -> None:
    """Let no request of huggingface_hub wait for ever; those for lists name no time of their own."""
    hooks = hub.get_session().event_hooks["request"]
    if _bound not in hooks:
        hooks.append(_bound)


def _bound(request: Any) -> None:
    times = request.extensions.get("timeout", {})
    names = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = {name: times.get(name) or TIMEOUT for name in names}


def silent() -> type:
    """A bar that is never shown: the bytes are counted here."""
    from tqdm import tqdm

    def begin(bar: Any, *given: Any, **more: Any) -> None:
        more.pop("name", None)
        tqdm.__init__(bar, *given, **{**more, "disable": True})

    return type("Silent", (tqdm,), {"__init__": begin})


def headers() -> dict[str, str]:
    """Ours, with the token of the environment."""
    return dict(library().utils.build_hf_headers(library_name="slmeval"))


def understood(attempt: Callable[[], ValueT]) -> ValueT:
    """As ``attempt``, which waits for no answer for ever.

    :raises OSError, HTTPError: the hub cannot be asked; what kept us from a list stands in place of the list.
    """
    hub = library()
    try:
        _bound_all(hub)
        return attempt()
    except hub.errors.DryRunError as error:
        raise (error.__cause__ or error) from None
    except (OSError, hub.errors.HTTPError):
        raise
    # what the library makes of a page that is not the hub's, of names that leave its folder, of a proxy
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, ImportError) as error:
        raise ConnectionError(f"{_NOT_UNDERSTOOD} ({type(error).__name__}: {error})") from error
