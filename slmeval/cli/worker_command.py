"""``slmeval worker``: let this machine work for a server."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import platformdirs

from slmeval.cli.output import complain
from slmeval.errors import MissingExtra, UsageError
from slmeval.registry import load
from slmeval.service.wire import is_name

#: says that the parent is the server: where this process's input ends, so does its work
_PARENT = "SLMEVAL_AGENT_PARENT"
_TOKEN = "SLMEVAL_TOKEN"
#: seconds in which workers must have ended once the parent is gone
_GRACE = 10.0


@click.command("worker")
@click.option("--server", required=True, metavar="URL", help="The server: http://HOST:PORT.")
@click.option("--token", metavar="T", help=f"The token that lets it work; better told in {_TOKEN}.")
@click.option("--name", metavar="NAME", help="What the device is called; by default as the machine is.")
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where models are kept that the server sends.",
)
def command(server: str, token: str | None, name: str | None, cache: Path | None) -> None:
    """Work for a server: run on this machine what is submitted there."""
    if find_spec("websockets") is None:
        raise MissingExtra("slmeval worker", "worker", "needs websockets, which is not installed")
    # workers inherit the environment, and a token is none of their engines' business
    told, is_child = os.environ.pop(_TOKEN, None), os.environ.pop(_PARENT, None) is not None
    signal.signal(signal.SIGTERM, _end)
    if is_child:
        threading.Thread(target=_watch_parent, daemon=True, name="slmeval-parent").start()
    _work(server, token or told, name, cache, is_child)


def _work(server: str, token: str | None, name: str | None, cache: Path | None, is_child: bool) -> None:
    from slmeval.service.device.abilities import able, own_name
    from slmeval.service.device.address import address_of
    from slmeval.service.device.agent import Station, work

    if name is not None and not is_name(name):
        raise UsageError(f"--name {name!r}: a name is 1 to 64 letters, digits, dots, dashes and underscores")
    address = address_of(server, token)
    parts = load().parts
    backends = able(parts.backends)
    if not backends:
        raise UsageError("no engine can run here: slmeval doctor says what adds one")
    home = cache if cache is not None else platformdirs.user_cache_path("slmeval", appauthor=False)
    executor = parts.executors["process"]()
    station = Station(name or own_name(), backends, executor, home.absolute(), is_servers=is_child)
    complain(f"device {station.name}: {', '.join(sorted(backends))}")
    work(station, address, complain)


def _end(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    sys.exit(0)


def _watch_parent() -> None:
    # not by sys.stdin, whose lock an interpreter that ends would wait for
    while os.read(0, 1 << 16):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
